/** Time and chance, injected wherever a decision depends on them, so that tests can drive both. */

import type { CallSignal } from './call-signal.ts';

/** A timer under way; cancelling one that has fired does nothing. */
export type Timer = { cancel(): void };

export type Clock = {
  /**
   * Milliseconds since the epoch as it was when the process started: it never steps, so that
   * intervals stay what they are when somebody sets the machine's clock.
   */
  now(): number;
  /** Calls back once after so many milliseconds. The owner of the timer must cancel it at its end. */
  setTimer(ms: number, callback: () => void): Timer;
  /** A number in [0, 1), for jitter. */
  random(): number;
};

// A getter, and this is asked several times for each call.
const { timeOrigin } = performance;

/** The time of this machine. */
export const systemClock: Clock = {
  now: () => timeOrigin + performance.now(),
  setTimer(ms, callback) {
    const handle = setTimeout(callback, ms);
    return { cancel: () => clearTimeout(handle) };
  },
  random: Math.random,
};

/** Resolves true after so many milliseconds, or false as soon as the signal aborts. */
export function sleep(clock: Clock, ms: number, signal: CallSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = (elapsed: boolean): void => {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
      resolve(elapsed);
    };
    const onAbort = (): void => end(false);
    const timer = clock.setTimer(ms, () => end(true));
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
