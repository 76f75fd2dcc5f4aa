/**
 * How much may be asked again: a fifth of what is asked, and a few each second. So that an overload
 * is not multiplied by those who suffer from it, while a single failure is always tried again, and
 * each try in an outage asks every server: whichever comes back first is found at once.
 */
import type { Clock } from '../../system/clock.ts';

export type RetryBudget = {
  /** A request is made for the first time. */
  asked(): void;
  /** Whether one more try is all right; it is counted. */
  take(): boolean;
};

const SHARE = 0.2;
const BURST = 20;
/** In an outage 64 callers make four or five tries a second, each of them at up to five servers. */
const EACH_SECOND = 16;

/** A full budget. */
export function createRetryBudget(clock: Clock): RetryBudget {
  let left = BURST;
  let filledAt = clock.now();
  return {
    asked() {
      const now = clock.now();
      const since = Math.max(0, now - filledAt);
      filledAt = now;
      left = Math.min(BURST, left + SHARE + (since * EACH_SECOND) / 1_000);
    },
    take() {
      if (left < 1) return false;
      left -= 1;
      return true;
    },
  };
}
