/** One row of the limits table on a plugin of its own. */
import { startFakeVault } from '../daemon/fake-vault.ts';
import { localProviders, vaultProviders } from '../daemon/program.ts';
import type { BoundRow, Times } from './row.ts';
import { assertWithstood, type Withstood, withstand } from './withstand.ts';

/** Drives it again and again until so much time has passed, once at least. */
export async function drive(
  dir: string,
  row: BoundRow,
  times: Times,
  leastMs: number,
): Promise<Withstood> {
  const { replyTo, mayBeAway = false } = row;
  await using vault = await startFakeVault(replyTo === undefined ? {} : { replyTo });
  const providers =
    row.onVault === true
      ? vaultProviders(dir, 'hvs.x', [vault.address])
      : await localProviders(dir);
  const result = await withstand(
    dir,
    { providers, ...row.config },
    async (plugin) => {
      const end = performance.now() + leastMs;
      do {
        await row.drive(plugin, times, vault);
      } while (performance.now() < end);
    },
    { mayBeAway },
  );
  assertWithstood(result);
  return result;
}
