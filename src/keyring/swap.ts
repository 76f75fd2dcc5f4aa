/**
 * A keyring that can be put in the place of another while calls are under way. Whoever holds the
 * facade never notices: what it answers of the key and what it encrypts with come from one keyring,
 * so that Status and Encrypt cannot disagree.
 */

import type { Result } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Keyring } from './keyring.ts';
import { hasBeenReady, isTransient, type KeyringState, knownKey } from './state.ts';

export type KeyringSwap = {
  /** Hands each call to the keyring that is current when the call begins. */
  readonly keyring: Keyring;
  /**
   * From now on calls go to `next`, which has been started already. What the old one has sent ends
   * on it, unless it is not ready, and it is stopped after that. What waits or fails on it begins anew
   * on the next one: it may be waiting for something that will never be. Where `next` has all of its
   * providers, it goes on with what the old one has kept for an outage; otherwise it has its own
   * providers decrypt the ciphertexts of it.
   *
   * Resolves when the old one has stopped.
   */
  replace(next: Keyring, sameProviders?: boolean): Promise<void>;
};

/** One keyring and the calls that it has to end. */
type Seat = {
  readonly keyring: Keyring;
  calls: number;
  replaced: boolean;
  /** Set once it is replaced; called when its last call has ended. */
  onIdle: (() => void) | undefined;
};

/** A facade over `first`, which is started and stopped by it. */
export function createKeyringSwap(first: Keyring): KeyringSwap {
  let current = seatOf(first);
  const retiring = new Map<Keyring, Promise<void>>();

  const call = async <T>(
    ask: (keyring: Keyring) => Promise<Result<T>>,
    signal: CallSignal,
  ): Promise<Result<T>> => {
    for (;;) {
      const seat = current;
      seat.calls += 1;
      try {
        const outcome = await ask(seat.keyring);
        if (outcome.ok || !seat.replaced || signal.aborted) return outcome;
      } finally {
        seat.calls -= 1;
        if (seat.calls === 0) seat.onIdle?.();
      }
    }
  };

  const retire = async (seat: Seat): Promise<void> => {
    if (seat.calls > 0) {
      await new Promise<void>((resolve) => {
        seat.onIdle = resolve;
      });
    }
    await seat.keyring.stop();
    retiring.delete(seat.keyring);
  };

  return {
    keyring: {
      start: () => current.keyring.start(),
      abandon: () => current.keyring.abandon(),
      async stop() {
        await Promise.all([current.keyring.stop(), ...retiring.values()]);
      },
      state: () => current.keyring.state(),
      encrypt: (plaintext, purpose, signal) =>
        call((keyring) => keyring.encrypt(plaintext, purpose, signal), signal),
      decrypt: (sealed, signal) => call((keyring) => keyring.decrypt(sealed, signal), signal),
      versionOf: (ciphertext) => current.keyring.versionOf(ciphertext),
      readerTroubles: () => current.keyring.readerTroubles(),
      readerChecked: (name) => current.keyring.readerChecked(name),
      loaded: (provider) => current.keyring.loaded(provider),
      queued: () =>
        [current.keyring, ...retiring.keys()].reduce((sum, keyring) => sum + keyring.queued(), 0),
      remembered: () => current.keyring.remembered(),
      sources: () => current.keyring.sources(),
      ciphertexts: () => current.keyring.ciphertexts(),
      sample: () => current.keyring.sample(),
      release: () => current.keyring.release(),
      inherit: (kept) => current.keyring.inherit(kept),
      adopt: (left) => current.keyring.adopt(left),
    },
    replace(next, sameProviders = false) {
      const before = current;
      if (sameProviders) next.inherit(before.keyring.release());
      else leave(before.keyring, next);
      current = seatOf(next);
      before.replaced = true;
      before.keyring.abandon();
      const retired = retire(before);
      retiring.set(before.keyring, retired);
      return retired;
    },
  };
}

/** kube-apiserver asks again for no seed that it has: what is not left here is missing in the next outage. */
function leave(before: Keyring, next: Keyring): void {
  const key = knownKey(before.state());
  if (key === undefined) return;
  next.adopt({ key, sources: before.sources(), ciphertexts: before.ciphertexts() });
}

function seatOf(keyring: Keyring): Seat {
  return { keyring, calls: 0, replaced: false, onIdle: undefined };
}

/**
 * Whether a keyring that was tried may take the place of the one in use. One that works always may.
 * One that does not may where the one in use has never worked in this process and the new one is not
 * worse: not reached yet is hope, a refusal is none. That a provider is away takes back neither the
 * loss of an announced key nor, where it is the same provider, its refusal of that key.
 */
export function mayReplace(
  inUse: KeyringState,
  tried: Result<unknown>,
  sameWriter: boolean,
): boolean {
  if (tried.ok) return true;
  if (hasBeenReady(inUse) || inUse.kind === 'lost') return false;
  if (inUse.kind !== 'refused') return isTransient(tried.error.kind);
  return !sameWriter || knownKey(inUse) === undefined;
}
