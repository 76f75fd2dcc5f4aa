/** A network that is bad on purpose: Shopify's toxiproxy between two real ends. */
import { join } from 'node:path';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { freePort } from './free-port.ts';
import { jsonRequest } from './json-request.ts';
import { startServer } from './process.ts';

const START_MS = 10_000;

/** https://github.com/Shopify/toxiproxy#toxics */
export type Toxic = {
  readonly type:
    | 'latency'
    | 'bandwidth'
    | 'slow_close'
    | 'timeout'
    | 'reset_peer'
    | 'slicer'
    | 'limit_data';
  /** Towards the server, or back from it. Default: downstream, back from it. */
  readonly stream?: 'upstream' | 'downstream';
  /** The share of connections that it works on. Default: all. */
  readonly toxicity?: number;
  readonly attributes?: Readonly<Record<string, number>>;
};

/** One way through the proxy. */
export type ToxicWay = {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  add(toxic: Toxic): Promise<void>;
  /** Takes all toxics away again. */
  cure(): Promise<void>;
  /** Refuses connections, and cuts those that there are. */
  disable(): Promise<void>;
  enable(): Promise<void>;
};

export type Toxiproxy = AsyncDisposable & {
  /** Opens a way to `127.0.0.1:PORT`. */
  way(port: number): Promise<ToxicWay>;
};

/** Starts it on ports of 127.0.0.1. */
export async function startToxiproxy(dir: string): Promise<Toxiproxy> {
  const api = `127.0.0.1:${await freePort()}`;
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await jsonRequest({ method, url: `http://${api}${path}`, body });
    if (answer.status >= 300) throw new Error(`toxiproxy: ${method} ${path}: ${answer.status}`);
    return answer.body;
  };
  const running = await startServer(
    { program: testServers().toxiproxy, args: [api], logFile: join(dir, 'toxiproxy.log') },
    START_MS,
    () => call('GET', '/version').then(() => true),
  );
  let ways = 0;
  return {
    async way(port) {
      ways += 1;
      const name = `way-${ways}`;
      const listen = `127.0.0.1:${await freePort()}`;
      await call('POST', '/proxies', { name, listen, upstream: `127.0.0.1:${port}` });
      const switchTo = async (enabled: boolean): Promise<void> => {
        await call('POST', `/proxies/${name}`, { enabled });
      };
      const toxics = new Set<string>();
      return {
        address: listen,
        async add({ type, stream = 'downstream', toxicity = 1, attributes = {} }) {
          const toxic = `${type}-${stream}`;
          toxics.add(toxic);
          const body = { name: toxic, type, stream, toxicity, attributes };
          await call('POST', `/proxies/${name}/toxics`, body);
        },
        async cure() {
          for (const toxic of toxics) await call('DELETE', `/proxies/${name}/toxics/${toxic}`);
          toxics.clear();
        },
        disable: () => switchTo(false),
        enable: () => switchTo(true),
      };
    },
    [Symbol.asyncDispose]: running.stop,
  };
}
