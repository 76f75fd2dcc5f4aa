/**
 * A keyring that can be put in the place of another while calls are under way. Whoever holds the
 * facade never notices: what it answers of the key and what it encrypts with come from one keyring,
 * so that Status and Encrypt cannot disagree.
 */

import type { Result } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Keyring } from './keyring.ts';
import { isTransient, type KeyringState, knownKey } from './state.ts';

export type KeyringSwap = {
  /** Hands each call to the keyring that is current when the call begins. */
  readonly keyring: Keyring;
  /**
   * From now on calls go to `next`, which has been started already. What is under way ends on the
   * keyring that it began with, and that one is stopped after it. Only a call that found it not
   * ready begins anew: it may be waiting for something that will never be.
   *
   * Resolves when the old one has stopped.
   */
  replace(next: Keyring): Promise<void>;
};

/** One keyring and the calls that it has to end. */
type Seat = {
  readonly keyring: Keyring;
  calls: number;
  replaced: boolean;
  /** Ends those of its calls that begin anew when it is replaced. */
  readonly movable: Set<() => void>;
  /** Set once it is replaced; called when its last call has ended. */
  onIdle: (() => void) | undefined;
};

/** A facade over `first`, which is started and stopped by it. */
export function createKeyringSwap(first: Keyring): KeyringSwap {
  let current = seatOf(first);
  const retiring = new Map<Keyring, Promise<void>>();

  const call = async <T>(
    ask: (keyring: Keyring, signal: CallSignal) => Promise<Result<T>>,
    signal: CallSignal,
  ): Promise<Result<T>> => {
    for (;;) {
      const seat = current;
      const ready = seat.keyring.state().kind === 'ready';
      seat.calls += 1;
      try {
        const outcome = ready ? await ask(seat.keyring, signal) : await movable(seat, ask, signal);
        if (ready || outcome.ok || !seat.replaced || signal.aborted) return outcome;
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
      async stop() {
        await Promise.all([current.keyring.stop(), ...retiring.values()]);
      },
      state: () => current.keyring.state(),
      encrypt: (plaintext, verification, signal) =>
        call((keyring, within) => keyring.encrypt(plaintext, verification, within), signal),
      decrypt: (ciphertext, signal) =>
        call((keyring, within) => keyring.decrypt(ciphertext, within), signal),
      versionOf: (ciphertext) => current.keyring.versionOf(ciphertext),
      queued: () =>
        [current.keyring, ...retiring.keys()].reduce((sum, keyring) => sum + keyring.queued(), 0),
    },
    replace(next) {
      const before = current;
      current = seatOf(next);
      before.replaced = true;
      for (const move of [...before.movable]) move();
      const retired = retire(before);
      retiring.set(before.keyring, retired);
      return retired;
    },
  };
}

function seatOf(keyring: Keyring): Seat {
  return { keyring, calls: 0, replaced: false, movable: new Set(), onIdle: undefined };
}

/** Ends with the caller's signal, and when the keyring is replaced. */
async function movable<T>(
  seat: Seat,
  ask: (keyring: Keyring, signal: CallSignal) => Promise<Result<T>>,
  signal: CallSignal,
): Promise<Result<T>> {
  const controller = new AbortController();
  const end = (): void => controller.abort();
  if (signal.aborted) end();
  seat.movable.add(end);
  signal.addEventListener('abort', end, { once: true });
  try {
    return await ask(seat.keyring, controller.signal);
  } finally {
    seat.movable.delete(end);
    signal.removeEventListener('abort', end);
  }
}

/**
 * Whether a keyring that was tried may take the place of the one in use. One that works always may.
 * One that does not may where the one in use has never worked and the new one is not worse: not
 * reached yet is hope, a refusal is none.
 */
export function mayReplace(inUse: KeyringState, tried: Result<unknown>): boolean {
  if (tried.ok) return true;
  if (knownKey(inUse) !== undefined) return false;
  return inUse.kind === 'refused' || isTransient(tried.error.kind);
}
