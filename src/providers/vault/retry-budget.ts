/**
 * How much may be asked again: a fifth of what is asked, and a few more. So that an overload is not
 * multiplied by those who suffer from it, while a single failure is always tried again.
 */
export type RetryBudget = {
  /** A request is made for the first time. */
  asked(): void;
  /** Whether one more try is all right; it is counted. */
  take(): boolean;
};

const SHARE = 0.2;
const BURST = 20;

/** A full budget. */
export function createRetryBudget(): RetryBudget {
  let left = BURST;
  return {
    asked() {
      left = Math.min(BURST, left + SHARE);
    },
    take() {
      if (left < 1) return false;
      left -= 1;
      return true;
    },
  };
}
