/**
 * What was decrypted lately, so that kube-apiserver can start again while the provider is away.
 *
 * Bounded in number and age, and held encrypted under a key of this process: a copy of some of its
 * memory shows no plaintext without the key that lies elsewhere in it. It is emptied as soon as the
 * provider says no, and answers nothing from then on.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { AEAD_KEY_BYTES, openAead, sealAead } from '../providers/aead.ts';
import type { Clock } from '../system/clock.ts';

export type DecryptCache = {
  /** The plaintext, a copy of the caller's own; undefined where it is not known or too old. */
  get(ciphertext: Uint8Array): Uint8Array | undefined;
  /** Only what the provider itself has answered, and when that was if not now: its age counts from it. */
  put(ciphertext: Uint8Array, plaintext: Uint8Array, at?: number): void;
  /** The ciphertexts that the provider answered longest ago, at most so many and at least so old. */
  oldest(count: number, minAgeMs: number): readonly Uint8Array[];
  drop(ciphertext: Uint8Array): void;
  /** Drops what is too old. */
  sweep(): void;
  clear(): void;
  size(): number;
};

export type CacheLimits = { readonly maxEntries: number; readonly maxAgeMs: number };

/** Both lie sealed: which of etcd's objects were read is nobody's business either. */
type Entry = { readonly ciphertext: Buffer; readonly plaintext: Buffer; readonly at: number };

const UNBOUND = Buffer.alloc(0);

/** An empty cache under a fresh key. */
export function createDecryptCache(
  { maxEntries, maxAgeMs }: CacheLimits,
  clock: Clock,
): DecryptCache {
  let key = randomBytes(AEAD_KEY_BYTES);
  /** In the order in which they were put, which is nearly that of their ages. */
  const entries = new Map<string, Entry>();

  // Keyed, so that the names tell as little as the entries.
  const nameOf = (ciphertext: Uint8Array): string =>
    createHmac('sha256', key).update(ciphertext).digest('base64');

  const tooOld = ({ at }: Entry): boolean => at <= clock.now() - maxAgeMs;

  const sweep = (): void => {
    for (const [name, entry] of entries) {
      if (!tooOld(entry)) return;
      entries.delete(name);
    }
  };

  const opened = (sealed: Buffer): Buffer => {
    const content = openAead(sealed, key, UNBOUND);
    if (content === undefined) throw new Error('the memory of the decrypt cache was damaged');
    return content;
  };

  return {
    get(ciphertext) {
      sweep();
      if (entries.size === 0) return undefined;
      const entry = entries.get(nameOf(ciphertext));
      return entry === undefined || tooOld(entry) ? undefined : opened(entry.plaintext);
    },
    put(ciphertext, plaintext, at = clock.now()) {
      sweep();
      const name = nameOf(ciphertext);
      entries.delete(name);
      entries.set(name, {
        ciphertext: sealAead(ciphertext, key, UNBOUND),
        plaintext: sealAead(plaintext, key, UNBOUND),
        at,
      });
      const oldest = entries.keys().next().value;
      if (entries.size > maxEntries && oldest !== undefined) entries.delete(oldest);
    },
    oldest(count, minAgeMs) {
      sweep();
      const found: Uint8Array[] = [];
      const latest = clock.now() - minAgeMs;
      for (const { ciphertext, at } of entries.values()) {
        if (found.length === count || at > latest) break;
        found.push(opened(ciphertext));
      }
      return found;
    },
    drop: (ciphertext) => void entries.delete(nameOf(ciphertext)),
    sweep,
    clear() {
      entries.clear();
      key.fill(0);
      key = randomBytes(AEAD_KEY_BYTES);
    },
    size: () => entries.size,
  };
}
