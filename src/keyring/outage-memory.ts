/**
 * What the keyring can do by itself while the provider is away, so that a kube-apiserver can start
 * then: decrypt what the provider has decrypted lately, and encrypt the one seed that it asks for
 * before it reads anything. All of it ends when the provider says no, and by age.
 */
import type { Result } from '../providers/errors.ts';
import { type CallSignal, createCallController } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import { type CacheLimits, createDecryptCache } from './cache.ts';
import type { KeyId } from './key-id.ts';
import { encryptUnder, type LocalKek, localKek, type WrappedKey } from './local-kek.ts';
import type { Encrypted } from './operations.ts';
import type { AnnouncedKey } from './state.ts';

export type OutageMemory = {
  /** Takes what the provider itself has just answered. */
  remember(ciphertext: Uint8Array, plaintext: Uint8Array): void;
  /** Takes what has just proven the announced key, and overwrites the plaintext of it. */
  hold(made: WrappedKey, announced: AnnouncedKey): void;
  decrypt(ciphertext: Uint8Array): Uint8Array | undefined;
  /** Under a local KEK that the key of this key_id has wrapped; undefined where there is none. */
  encrypt(plaintext: Uint8Array, keyId: KeyId): Encrypted | undefined;
  /**
   * Has the provider decrypt anew what it decrypted longest ago: what it still decrypts stays at
   * hand for an outage that begins days later, and what it refuses is forgotten. One request.
   */
  confirm(): void;
  /** Drops what is too old. */
  sweep(): void;
  forget(): void;
  /** Ends what it has asked for. */
  stop(): void;
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

/** A memory in which there is nothing yet. */
export function createOutageMemory(options: OutageMemoryOptions): OutageMemory {
  const { limits, clock } = options;
  const cache = createDecryptCache(limits, clock);
  let kek: LocalKek | undefined;
  let confirming: { end(): void } | undefined;

  const confirmOne = async (ciphertext: Uint8Array, signal: CallSignal): Promise<void> => {
    const outcome = await options.decrypt(ciphertext, signal);
    if (outcome.ok) outcome.value.fill(0);
    else if (outcome.error.kind === 'invalid') cache.drop(ciphertext);
  };

  return {
    remember: (ciphertext, plaintext) => cache.put(ciphertext, plaintext),
    hold(made, announced) {
      kek = localKek(made, announced, clock.now());
    },
    decrypt: (ciphertext) => cache.get(ciphertext),
    encrypt(plaintext, keyId) {
      if (kek === undefined || kek.announced.keyId !== keyId) return undefined;
      if (kek.at <= clock.now() - limits.maxAgeMs) return undefined;
      // What is encrypted now is what the same kube-apiserver reads first when it starts once more.
      const bytes = kek.key.export();
      cache.put(kek.wrapped, bytes, kek.at);
      bytes.fill(0);
      return encryptUnder(kek, plaintext);
    },
    confirm() {
      if (confirming !== undefined) return;
      const due = cache.oldest(MOST_CONFIRMED, limits.maxAgeMs / 4);
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
    sweep() {
      cache.sweep();
      if (kek !== undefined && kek.at <= clock.now() - limits.maxAgeMs) kek = undefined;
    },
    forget() {
      cache.clear();
      kek = undefined;
    },
    stop: () => confirming?.end(),
  };
}
