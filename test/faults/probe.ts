/** Asks Vault itself, past the plugin and past every proxy, whether it decrypts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { jsonRequest } from '../servers/json-request.ts';
import type { VaultAdmin } from '../servers/vault-admin.ts';
import { KEY } from '../vault/vault-under-test.ts';

const POLL_MS = 20;
const LOOK_MS = 500;

export type Probe = {
  /**
   * When the first good answer came of those asked for after `since`; times are milliseconds of
   * `performance.now()`. Rejects after `withinMs`.
   */
  firstGood(since: number, withinMs: number): Promise<number>;
};

/** A token and a ciphertext of its own, for the nodes of one Vault. */
export async function probeVault(
  admin: VaultAdmin,
  nodes: readonly { readonly address: string }[],
): Promise<Probe> {
  const token = await admin.createToken({ policies: ['root'], ttl: '1h' });
  const plaintext = Buffer.from('is it there?').toString('base64');
  const { data } = await admin.write(`transit/encrypt/${KEY}`, { plaintext });
  const body = { ciphertext: data?.['ciphertext'] };
  const decrypts = async (address: string): Promise<boolean> => {
    const reply = await jsonRequest({
      method: 'POST',
      url: `${address}/v1/transit/decrypt/${KEY}`,
      headers: { 'x-vault-token': token },
      body,
      signal: AbortSignal.timeout(LOOK_MS),
    });
    return reply.status === 200;
  };
  return {
    async firstGood(since, withinMs) {
      const found = Promise.withResolvers<number>();
      let asking = true;
      const ask = async (address: string): Promise<void> => {
        while (asking && performance.now() - since < withinMs) {
          if (await decrypts(address).catch(() => false)) return found.resolve(performance.now());
          await sleep(POLL_MS);
        }
      };
      try {
        const all = Promise.all(nodes.map(({ address }) => ask(address))).then(() => {
          throw new Error(`Vault itself did not answer within ${withinMs} ms`);
        });
        // One node that answers is enough; the rejection of the others then is of no interest.
        all.catch(() => undefined);
        return await Promise.race([found.promise, all]);
      } finally {
        asking = false;
      }
    },
  };
}
