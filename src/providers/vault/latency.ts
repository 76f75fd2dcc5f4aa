/** The 95th percentile of how long answers take, followed without keeping them. */
export type Latency = {
  /** Seen in milliseconds. */
  saw(ms: number): void;
  /** The estimate in milliseconds; undefined until enough was seen. */
  p95(): number | undefined;
};

const QUANTILE = 0.95;
/** By how much of itself the estimate moves: up for a longer answer, down for a shorter one. */
const STEP = 0.1;
const LEAST_STEP_MS = 0.1;
const ENOUGH = 20;

/** An estimate that has seen nothing. */
export function createLatency(): Latency {
  let estimate = 0;
  let seen = 0;
  return {
    saw(ms) {
      if (seen < ENOUGH) {
        seen += 1;
        estimate = Math.max(estimate, ms);
        return;
      }
      const step = Math.max(LEAST_STEP_MS, estimate * STEP);
      estimate += ms > estimate ? step * QUANTILE : -step * (1 - QUANTILE);
    },
    p95: () => (seen < ENOUGH ? undefined : estimate),
  };
}
