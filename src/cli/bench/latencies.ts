/** Times of many calls in little memory: a histogram of three significant figures, as HdrHistogram has it. */
import { createHistogram } from 'node:perf_hooks';

export type Latencies = {
  record(ms: number): void;
  count(): number;
  /** The time that so many per cent of the calls did not exceed; undefined without a call. */
  percentile(percent: number): number | undefined;
};

const US_PER_MS = 1000;
const FIGURES = 3;

/** No calls yet. Times are kept to the microsecond, or to a thousandth of themselves. */
export function createLatencies(): Latencies {
  const histogram = createHistogram({ figures: FIGURES });
  return {
    record: (ms) => histogram.record(Math.max(1, Math.round(ms * US_PER_MS))),
    count: () => histogram.count,
    percentile: (percent) =>
      histogram.count === 0 ? undefined : histogram.percentile(percent) / US_PER_MS,
  };
}
