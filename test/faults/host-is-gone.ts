/** Packets of a way are dropped from the first one on: what is open is cut, nothing new opens. */
import { startSilentHost } from '../servers/silent-host.ts';
import type { ToxicWay } from '../servers/toxiproxy.ts';

export function hostIsGone(folder: string): {
  begin(way: ToxicWay): Promise<void>;
  end(way: ToxicWay): Promise<void>;
} {
  let host: AsyncDisposable | undefined;
  return {
    async begin(way) {
      await way.disable();
      host = await startSilentHost(folder, Number(way.address.split(':')[1]));
    },
    async end(way) {
      await host?.[Symbol.asyncDispose]();
      await way.enable();
    },
  };
}
