/**
 * What was decrypted lately, so that kube-apiserver can start again while the provider is away.
 *
 * Bounded in number and age, and held encrypted under a key of this process: a copy of some of its
 * memory shows no plaintext without the key that lies elsewhere in it. It is emptied as soon as the
 * provider says no, and answers nothing from then on.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '../system/clock.ts';

export type DecryptCache = {
  /** The plaintext, a copy of the caller's own; undefined where it is not known or too old. */
  get(ciphertext: Uint8Array): Uint8Array | undefined;
  /** Only what the provider itself has just answered: its age counts from now. */
  put(ciphertext: Uint8Array, plaintext: Uint8Array): void;
  /** Drops what is too old. */
  sweep(): void;
  clear(): void;
  size(): number;
};

export type CacheLimits = { readonly maxEntries: number; readonly maxAgeMs: number };

type Entry = {
  readonly nonce: Buffer;
  readonly sealed: Buffer;
  readonly tag: Buffer;
  readonly at: number;
};

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;

/** An empty cache under a fresh key. */
export function createDecryptCache(
  { maxEntries, maxAgeMs }: CacheLimits,
  clock: Clock,
): DecryptCache {
  let key = randomBytes(KEY_BYTES);
  /** In the order in which the provider answered them, oldest first. */
  const entries = new Map<string, Entry>();

  // Keyed, so that the map tells nobody which of etcd's objects were read.
  const nameOf = (ciphertext: Uint8Array): string =>
    createHmac('sha256', key).update(ciphertext).digest('base64');

  const sweep = (): void => {
    const oldest = clock.now() - maxAgeMs;
    for (const [name, { at }] of entries) {
      if (at > oldest) return;
      entries.delete(name);
    }
  };

  return {
    get(ciphertext) {
      sweep();
      if (entries.size === 0) return undefined;
      const entry = entries.get(nameOf(ciphertext));
      if (entry === undefined) return undefined;
      const decipher = createDecipheriv(CIPHER, key, entry.nonce).setAuthTag(entry.tag);
      const plaintext = decipher.update(entry.sealed);
      decipher.final();
      return plaintext;
    },
    put(ciphertext, plaintext) {
      sweep();
      const name = nameOf(ciphertext);
      entries.delete(name);
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, key, nonce);
      const sealed = cipher.update(plaintext);
      cipher.final();
      entries.set(name, { nonce, sealed, tag: cipher.getAuthTag(), at: clock.now() });
      const oldest = entries.keys().next().value;
      if (entries.size > maxEntries && oldest !== undefined) entries.delete(oldest);
    },
    sweep,
    clear() {
      entries.clear();
      key.fill(0);
      key = randomBytes(KEY_BYTES);
    },
    size: () => entries.size,
  };
}
