/**
 * What was decrypted lately, so that kube-apiserver can start again while the provider is away.
 *
 * Bounded in number, bytes and age, and held encrypted under a key of this process: a copy of some of its
 * memory shows no plaintext without the key that lies elsewhere in it. It is emptied as soon as the
 * provider says no, and answers nothing from then on.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { LIMITS } from '../limits.ts';
import { AEAD_KEY_BYTES, AEAD_OVERHEAD_BYTES, openAead, sealAead } from '../providers/aead.ts';
import type { Clock } from '../system/clock.ts';

export type DecryptCache = {
  /** The plaintext, a copy of the caller's own; undefined where it is not known or too old. */
  get(ciphertext: Uint8Array): Uint8Array | undefined;
  /**
   * Only what the provider itself has just answered: its age counts from now. `version` is the key
   * version that {@link dropBelow} compares; undefined where it never applies.
   */
  put(ciphertext: Uint8Array, plaintext: Uint8Array, version?: number | undefined): void;
  /** Whether {@link get} would answer. */
  has(ciphertext: Uint8Array): boolean;
  /** Drops one ciphertext, in a time that does not depend on how many there are. */
  drop(ciphertext: Uint8Array): void;
  /** Drops what was encrypted under an older key version than this one; opens nothing. */
  dropBelow(version: number): void;
  /**
   * Ciphertexts that the provider answered so long ago or longer, at most so many. Each stands behind
   * all others afterwards, so that those which nobody answers hold up none.
   */
  takeTurns(count: number, minAgeMs: number): readonly Uint8Array[];
  /** The ciphertexts of the last entries, at most so many; the order stays. */
  last(count: number): readonly Uint8Array[];
  /** Drops what is too old. */
  sweep(): void;
  clear(): void;
  size(): number;
};

export type CacheLimits = { readonly maxEntries: number; readonly maxAgeMs: number };

/** Ciphertext and plaintext lie sealed in one: which of etcd's objects were read is told to nobody. */
type Entry = {
  readonly sealed: Buffer;
  readonly at: number;
  readonly version: number | undefined;
};
type Pair = { readonly ciphertext: Buffer; readonly plaintext: Buffer };

const UNBOUND = Buffer.alloc(0);
const LENGTH_BYTES = 4;

/** An empty cache under a fresh key; `maxBytes` is of all sealed entries together. */
export function createDecryptCache(
  { maxEntries, maxAgeMs }: CacheLimits,
  clock: Clock,
  maxBytes: number = LIMITS.cacheBytes,
): DecryptCache {
  let key = randomBytes(AEAD_KEY_BYTES);
  const entries = new Map<string, Entry>();
  let bytes = 0;

  const remove = (name: string): void => {
    bytes -= entries.get(name)?.sealed.length ?? 0;
    entries.delete(name);
  };

  // Keyed, so that the names tell as little as the entries.
  const nameOf = (ciphertext: Uint8Array): string =>
    createHmac('sha256', key).update(ciphertext).digest('base64');

  const tooOld = ({ at }: Entry): boolean => at <= clock.now() - maxAgeMs;

  const seal = (ciphertext: Uint8Array, plaintext: Uint8Array): Buffer => {
    const pair = Buffer.allocUnsafeSlow(LENGTH_BYTES + ciphertext.length + plaintext.length);
    pair.writeUInt32BE(ciphertext.length);
    pair.set(ciphertext, LENGTH_BYTES);
    pair.set(plaintext, LENGTH_BYTES + ciphertext.length);
    // Of its own: a slice of Node's pool would keep all of the pool for as long as it lives.
    const sealed = Buffer.allocUnsafeSlow(pair.length + AEAD_OVERHEAD_BYTES);
    sealAead(pair, key, UNBOUND).copy(sealed);
    pair.fill(0);
    return sealed;
  };

  const ciphertextOf = (entry: Entry): Uint8Array => {
    const { ciphertext, plaintext } = open(entry);
    plaintext.fill(0);
    return ciphertext;
  };

  const open = ({ sealed }: Entry): Pair => {
    const pair = openAead(sealed, key, UNBOUND);
    if (pair === undefined) throw new Error('the memory of the decrypt cache was damaged');
    const end = LENGTH_BYTES + pair.readUInt32BE();
    return { ciphertext: pair.subarray(LENGTH_BYTES, end), plaintext: pair.subarray(end) };
  };

  return {
    get(ciphertext) {
      if (entries.size === 0) return undefined;
      const entry = entries.get(nameOf(ciphertext));
      return entry === undefined || tooOld(entry) ? undefined : open(entry).plaintext;
    },
    put(ciphertext, plaintext, version) {
      const name = nameOf(ciphertext);
      remove(name);
      const sealed = seal(ciphertext, plaintext);
      entries.set(name, { sealed, at: clock.now(), version });
      bytes += sealed.length;
      for (const oldest of entries.keys()) {
        if (entries.size <= maxEntries && bytes <= maxBytes) break;
        remove(oldest);
      }
    },
    has(ciphertext) {
      const entry = entries.get(nameOf(ciphertext));
      return entry !== undefined && !tooOld(entry);
    },
    drop: (ciphertext) => remove(nameOf(ciphertext)),
    dropBelow(least) {
      for (const [name, { version }] of entries)
        if (version !== undefined && version < least) remove(name);
    },
    takeTurns(count, minAgeMs) {
      const latest = clock.now() - minAgeMs;
      const due: [string, Entry][] = [];
      for (const entry of entries) {
        if (due.length === count) break;
        if (entry[1].at <= latest && !tooOld(entry[1])) due.push(entry);
      }
      for (const [name, entry] of due) {
        entries.delete(name);
        entries.set(name, entry);
      }
      return due.map(([, entry]) => ciphertextOf(entry));
    },
    last(count) {
      const all = [...entries.values()].filter((entry) => !tooOld(entry));
      return all.slice(-count).map(ciphertextOf);
    },
    sweep() {
      for (const [name, entry] of entries) if (tooOld(entry)) remove(name);
    },
    clear() {
      entries.clear();
      bytes = 0;
      key.fill(0);
      key = randomBytes(AEAD_KEY_BYTES);
    },
    size: () => entries.size,
  };
}
