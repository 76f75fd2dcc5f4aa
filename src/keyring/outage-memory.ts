/**
 * What the keyring can do by itself while the provider is away, so that a kube-apiserver can start
 * then: decrypt what the provider has decrypted lately, and encrypt the one seed that it asks for
 * before it reads anything. All of it ends when the provider says no, and by age.
 */
import { LIMITS } from '../limits.ts';
import type { Result } from '../providers/errors.ts';
import { type CallSignal, createCallController } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import { type CacheLimits, createDecryptCache, type DecryptCache } from './cache.ts';
import type { KeyId } from './key-id.ts';
import { canBeSource, encryptUnder } from './local-kek.ts';
import type { Encrypted } from './operations.ts';
import type { AnnouncedKey } from './state.ts';

/** What an operator wants to know before an outage. */
export type Remembered = {
  readonly entries: number;
  /** Whether a kube-apiserver that starts in an outage would get its seed. */
  readonly seeds: boolean;
};

/** Takes what the provider itself has just answered. */
export type Remember = (
  ciphertext: Uint8Array,
  plaintext: Uint8Array,
  /**
   * Whether it may become a source of local KEKs: a seed that this process has just encrypted under
   * the announced key. Never what it was asked to decrypt: who can write to etcd chooses that, with
   * its key_id, and a source that somebody knows gives away each seed that is encrypted under it.
   */
  source: boolean,
) => void;

export type OutageMemory = {
  /** To be asked for before the provider is: what comes after a refusal is not remembered. */
  remembering(): Remember;
  /** Seeds of another key than this one are not used any more. */
  announce(keyId: KeyId): void;
  decrypt(ciphertext: Uint8Array): Uint8Array | undefined;
  knows(ciphertext: Uint8Array): boolean;
  /** Under a local KEK; undefined where no seed of the announced key is known. */
  encrypt(plaintext: Uint8Array, announced: AnnouncedKey): Encrypted | undefined;
  /**
   * Has the provider decrypt anew what it decrypted long ago, so that it is still at hand for an
   * outage that begins days later. One request.
   */
  confirm(): void;
  /** Forgets one ciphertext. */
  drop(ciphertext: Uint8Array): void;
  /** What the provider has made of the seeds that may become sources of local KEKs. */
  sources(): readonly Uint8Array[];
  /** The ciphertexts of the last entries that the process after this one can have decrypted again. */
  ciphertexts(): readonly Uint8Array[];
  /**
   * Has the provider decrypt what the process before this one has encrypted under the announced key,
   * so that it may become a source again, and what it had in its cache. One request; what fails is not
   * asked for again.
   */
  adopt(sources: readonly Uint8Array[], ciphertexts: readonly Uint8Array[]): void;
  /** Forgets what an older version than this one of the announced key has encrypted. */
  dropBelow(version: number): void;
  /** Drops what is too old. */
  sweep(): void;
  /** Whether there was anything to forget. */
  forget(): boolean;
  /** Gives all of it up, for {@link inherit} of the memory that takes its place. */
  release(): Kept;
  /**
   * Goes on with what another memory of the same providers and limits has kept, each entry as old as
   * it is; with nothing where a provider has refused something since this memory was made.
   */
  inherit(kept: Kept): void;
  /** Ends what it has asked for. */
  stop(): void;
  remembered(): Remembered;
};

/** What a memory has given up. */
export type Kept = {
  readonly cache: DecryptCache;
  readonly seeds: DecryptCache;
  readonly announcedId: KeyId | undefined;
};

export type OutageMemoryOptions = {
  readonly limits: CacheLimits;
  readonly clock: Clock;
  /** The version of the announced provider's key that a ciphertext names. */
  readonly versionOf: (ciphertext: Uint8Array) => number | undefined;
  /** Decrypts with the provider, and has its answer remembered. */
  readonly decrypt: (ciphertext: Uint8Array, signal: CallSignal) => Promise<Result<Uint8Array>>;
};

/** So many fit into one request to the provider. */
const MOST_CONFIRMED = LIMITS.askedAgain;
const CONFIRM_LIMIT_MS = 5_000;
/** What is older than this part of its maximum age is confirmed. */
const DUE = 1 / 4;
/** One for each start of this node's kube-apiserver; another node knows those that it has read. */
const MOST_SEEDS = LIMITS.seeds;
/** A longer ciphertext is not handed over: the file is read by a schema that bounds each. */
const MOST_HANDED_OVER_BYTES = 3_000;
const canBeHandedOver = ({ length }: Uint8Array): boolean => length <= MOST_HANDED_OVER_BYTES;
/** What is shorter is no key: kube-apiserver asks with 'ping' whether KMS v1 is well. */
const LEAST_KEY_BYTES = 16;

/** A memory in which there is nothing yet. */
export function createOutageMemory(options: OutageMemoryOptions): OutageMemory {
  const { limits, clock } = options;
  const newCache = (): DecryptCache => createDecryptCache(limits, clock);
  const newSeeds = (): DecryptCache =>
    createDecryptCache({ ...limits, maxEntries: MOST_SEEDS }, clock);
  let cache = newCache();
  /** The last seeds that were encrypted under the announced key, whatever else fills the cache. */
  let seeds = newSeeds();
  let announcedId: KeyId | undefined;
  let refusals = 0;
  let asking: { end(): void } | undefined;

  /** Has the provider decrypt all of it in one request, within a limit; one at a time. */
  const ask = (
    ciphertexts: readonly Uint8Array[],
    answered: (plaintext: Uint8Array, ciphertext: Uint8Array) => void,
  ): void => {
    if (asking !== undefined || ciphertexts.length === 0) return;
    const limit = createCallController();
    const timer = clock.setTimer(CONFIRM_LIMIT_MS, limit.abort);
    asking = { end: limit.abort };
    const asked = ciphertexts.map(async (ciphertext) => {
      const outcome = await options.decrypt(ciphertext, limit.signal);
      if (outcome.ok) answered(outcome.value, ciphertext);
    });
    void Promise.all(asked).finally(() => {
      timer.cancel();
      asking = undefined;
    });
  };

  return {
    remembering() {
      const before = refusals;
      return (ciphertext, plaintext, source) => {
        if (refusals !== before || plaintext.length < LEAST_KEY_BYTES) return;
        const version = options.versionOf(ciphertext);
        cache.put(ciphertext, plaintext, version);
        const usable = source && canBeSource({ ciphertext, seed: plaintext });
        if (usable || seeds.has(ciphertext)) seeds.put(ciphertext, plaintext, version);
      };
    },
    announce(keyId) {
      if (announcedId !== keyId) seeds.clear();
      announcedId = keyId;
    },
    decrypt: (ciphertext) => cache.get(ciphertext) ?? seeds.get(ciphertext),
    knows: (ciphertext) => cache.has(ciphertext) || seeds.has(ciphertext),
    encrypt(plaintext, announced) {
      if (announcedId !== announced.keyId) return undefined;
      const sources = seeds.takeTurns(MOST_SEEDS, 0).flatMap((ciphertext) => {
        const seed = seeds.get(ciphertext);
        return seed === undefined ? [] : [{ ciphertext, seed }];
      });
      if (sources.length === 0) return undefined;
      const encrypted = encryptUnder(sources, announced, plaintext);
      for (const { seed } of sources) seed.fill(0);
      return encrypted;
    },
    confirm() {
      const age = limits.maxAgeMs * DUE;
      if (asking !== undefined) return;
      const due = [...seeds.takeTurns(MOST_SEEDS, age)];
      due.push(...cache.takeTurns(MOST_CONFIRMED - due.length, age));
      ask(due, (plaintext) => void plaintext.fill(0));
    },
    sources: () => seeds.takeTurns(MOST_SEEDS, 0).filter(canBeHandedOver),
    ciphertexts: () => cache.last(MOST_CONFIRMED - MOST_SEEDS).filter(canBeHandedOver),
    adopt(handedOver, ciphertexts) {
      const before = refusals;
      const sources = handedOver.slice(0, MOST_SEEDS);
      const isSource = (one: Uint8Array): boolean =>
        sources.some((source) => Buffer.from(source).equals(one));
      const others = ciphertexts.filter((one) => !isSource(one));
      const asked = [...sources, ...others.slice(0, MOST_CONFIRMED - sources.length)];
      ask(asked, (plaintext, ciphertext) => {
        const source = { ciphertext, seed: plaintext };
        if (refusals === before && isSource(ciphertext) && canBeSource(source))
          seeds.put(ciphertext, plaintext, options.versionOf(ciphertext));
        plaintext.fill(0);
      });
    },
    drop(ciphertext) {
      cache.drop(ciphertext);
      seeds.drop(ciphertext);
    },
    dropBelow(version) {
      cache.dropBelow(version);
      seeds.dropBelow(version);
    },
    sweep() {
      cache.sweep();
      seeds.sweep();
    },
    forget() {
      refusals += 1;
      const anything = cache.size() + seeds.size() > 0;
      cache.clear();
      seeds.clear();
      return anything;
    },
    release() {
      const kept = { cache, seeds, announcedId };
      cache = newCache();
      seeds = newSeeds();
      return kept;
    },
    inherit(kept) {
      if (refusals > 0) return;
      // What was handed over by the process before may be here already.
      if (kept.cache.size() > 0) cache = kept.cache;
      if (kept.seeds.size() > 0 && kept.announcedId === announcedId) seeds = kept.seeds;
    },
    stop: () => asking?.end(),
    remembered: () => ({ entries: cache.size(), seeds: seeds.size() > 0 }),
  };
}
