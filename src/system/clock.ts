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
  /**
   * The time of day at such a moment by the machine's clock as it is set now, in milliseconds since the
   * epoch: for people, and for the process after this one. It is another one than `now` gave where the clock
   * was set since the start, or the machine was suspended.
   */
  timeOfDay(at: number): number;
  /** Calls back once after so many milliseconds. The owner of the timer must cancel it at its end. */
  setTimer(ms: number, callback: () => void): Timer;
  /** A number in [0, 1), for jitter. */
  random(): number;
};

// A getter, and this is asked several times for each call.
const { timeOrigin } = performance;

/** What differs by less is the same, so that one moment is told alike each time. */
const LEAST_SET_MS = 1_000;
let aheadMs = 0;

/** The time of this machine. */
export const systemClock: Clock = {
  now: () => timeOrigin + performance.now(),
  timeOfDay(at) {
    const seenMs = Date.now() - timeOrigin - performance.now();
    if (Math.abs(seenMs - aheadMs) >= LEAST_SET_MS) aheadMs = seenMs;
    return at + aheadMs;
  },
  setTimer(ms, callback) {
    // Of a negative time, as that of a deadline which has passed, Node writes a warning to stderr.
    const handle = setTimeout(callback, Math.max(0, ms));
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
