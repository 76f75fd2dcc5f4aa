/**
 * What the keyring can do by itself while the provider is away, so that a kube-apiserver can start
 * then: decrypt what the provider has decrypted lately, and encrypt the one seed that it asks for
 * before it reads anything. All of it ends when the provider says no, and by age.
 */
import type { Result } from '../providers/errors.ts';
import { type CallSignal, createCallController } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import { type CacheLimits, createDecryptCache } from './cache.ts';
import { canBeSource, encryptUnder } from './local-kek.ts';
import type { Encrypted } from './operations.ts';
import type { AnnouncedKey } from './state.ts';

/** What an operator wants to know before an outage. */
export type Remembered = {
  readonly entries: number;
  /** Whether a kube-apiserver that starts in an outage would get its seed. */
  readonly seeds: boolean;
};

export type OutageMemory = {
  /** Takes what the provider itself has just answered. */
  remember(ciphertext: Uint8Array, plaintext: Uint8Array): void;
  /**
   * Takes a remembered seed as the source of local KEKs: one that lies in etcd, so that all nodes read
   * it, and that the announced key has encrypted, so that nothing new hangs on an older version.
   */
  useAsSource(ciphertext: Uint8Array, announced: AnnouncedKey): void;
  decrypt(ciphertext: Uint8Array): Uint8Array | undefined;
  /** Under a local KEK; undefined where there is no source for this key. */
  encrypt(plaintext: Uint8Array, announced: AnnouncedKey): Encrypted | undefined;
  /**
   * Has the provider decrypt anew what it decrypted long ago, so that it is still at hand for an
   * outage that begins days later. One request.
   */
  confirm(): void;
  drop(ciphertext: Uint8Array): void;
  /** Drops what is too old. */
  sweep(): void;
  /** Whether there was anything to forget. */
  forget(): boolean;
  /** Ends what it has asked for. */
  stop(): void;
  remembered(announced: AnnouncedKey | undefined): Remembered;
};

export type OutageMemoryOptions = {
  readonly limits: CacheLimits;
  readonly clock: Clock;
  /** Decrypts with the provider, and has its answer remembered. */
  readonly decrypt: (ciphertext: Uint8Array, signal: CallSignal) => Promise<Result<Uint8Array>>;
};

/** So many fit into one request to the provider. */
const MOST_CONFIRMED = 128;
const CONFIRM_LIMIT_MS = 5_000;
/** What is older than this part of its maximum age is confirmed. */
const DUE = 1 / 4;

/** A memory in which there is nothing yet. */
export function createOutageMemory(options: OutageMemoryOptions): OutageMemory {
  const { limits, clock } = options;
  const cache = createDecryptCache(limits, clock);
  let source: { readonly ciphertext: Uint8Array; readonly announced: AnnouncedKey } | undefined;
  let confirming: { end(): void } | undefined;

  const sourceSeed = (announced: AnnouncedKey): Uint8Array | undefined =>
    source?.announced.keyId === announced.keyId ? cache.get(source.ciphertext) : undefined;

  const confirmOne = async (ciphertext: Uint8Array, signal: CallSignal): Promise<void> => {
    const outcome = await options.decrypt(ciphertext, signal);
    if (outcome.ok) outcome.value.fill(0);
  };

  return {
    remember: cache.put,
    useAsSource(ciphertext, announced) {
      source = { ciphertext: Uint8Array.from(ciphertext), announced };
    },
    decrypt: cache.get,
    encrypt(plaintext, announced) {
      const seed = sourceSeed(announced);
      if (source === undefined || seed === undefined || !canBeSource(seed)) return undefined;
      const encrypted = encryptUnder({ ciphertext: source.ciphertext, seed }, announced, plaintext);
      seed.fill(0);
      return encrypted;
    },
    confirm() {
      if (confirming !== undefined) return;
      const due = cache.takeTurns(MOST_CONFIRMED, limits.maxAgeMs * DUE);
      if (due.length === 0) return;
      const limit = createCallController();
      const timer = clock.setTimer(CONFIRM_LIMIT_MS, limit.abort);
      confirming = { end: limit.abort };
      void Promise.all(due.map((ciphertext) => confirmOne(ciphertext, limit.signal))).finally(
        () => {
          timer.cancel();
          confirming = undefined;
        },
      );
    },
    drop: cache.drop,
    sweep: cache.sweep,
    forget() {
      const anything = cache.size() > 0;
      cache.clear();
      source = undefined;
      return anything;
    },
    stop: () => confirming?.end(),
    remembered(announced) {
      const seed = announced && sourceSeed(announced);
      const seeds = seed !== undefined && canBeSource(seed);
      seed?.fill(0);
      return { entries: cache.size(), seeds };
    },
  };
}
