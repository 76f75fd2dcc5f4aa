/** One way to the key, directly or through the plugin, and the calls that are measured on it. */
import { randomBytes } from 'node:crypto';
import { fail, type Result, succeed } from '../../providers/errors.ts';
import type { Call } from './load.ts';

/** What Encrypt answered; a provider alone has a ciphertext and nothing else. */
export type Sealed = {
  readonly ciphertext: Uint8Array;
  readonly key_id: string;
  readonly annotations: ReadonlyMap<string, Uint8Array>;
};

export type Way = {
  readonly name: 'direct' | 'plugin';
  encrypt(plaintext: Uint8Array, signal: AbortSignal): Promise<Result<Sealed>>;
  decrypt(sealed: Sealed, signal: AbortSignal): Promise<Result<Uint8Array>>;
  stop(): Promise<void>;
};

export const OPERATIONS = ['decrypt', 'encrypt'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** What kube-apiserver has encrypted: a seed of 32 bytes. */
const SEED_BYTES = 32;
/** How many are made at a time before anything is measured. */
const PREPARED_AT_ONCE = 16;

/**
 * Makes the ciphertexts that the decrypts are of, all different: equal ones that are under way
 * together share one place in a batch, which would flatter the plugin.
 */
export async function prepareCalls(
  way: Way,
  count: number,
  signal: AbortSignal,
): Promise<Result<Readonly<Record<Operation, Call>>>> {
  const items: { readonly plaintext: Uint8Array; readonly sealed: Sealed }[] = [];
  while (items.length < count) {
    const plaintexts = Array.from(
      { length: Math.min(PREPARED_AT_ONCE, count - items.length) },
      () => randomBytes(SEED_BYTES),
    );
    const made = await Promise.all(
      plaintexts.map(async (plaintext) => ({
        plaintext,
        result: await way.encrypt(plaintext, signal),
      })),
    );
    for (const { plaintext, result } of made) {
      if (!result.ok) return result;
      items.push({ plaintext, sealed: result.value });
    }
  }
  let next = 0;
  const calls: Readonly<Record<Operation, Call>> = {
    async decrypt(aborted) {
      const item = items[next % items.length];
      next += 1;
      if (item === undefined) return 'there is nothing to decrypt';
      const result = await way.decrypt(item.sealed, aborted);
      if (!result.ok) return result.error.message;
      return Buffer.compare(item.plaintext, result.value) === 0
        ? undefined
        : 'WRONG ANSWER: it decrypted to something else than what was encrypted';
    },
    async encrypt(aborted) {
      const result = await way.encrypt(randomBytes(SEED_BYTES), aborted);
      return result.ok ? undefined : result.error.message;
    },
  };
  const [first] = items;
  if (first === undefined) return fail('internal', 'there is nothing to decrypt');
  return succeed(calls);
}
