/** What came of every call: good, failed because Vault was away, or wrong. */
import { type ServiceError, status } from '@grpc/grpc-js';
import { createLatencies, type Latencies } from '../../src/cli/bench/latencies.ts';

export type Tally = {
  /** Runs one call; rejects never. What it throws is wrong unless Vault was away meanwhile. */
  run(what: string, call: () => Promise<void>): Promise<void>;
  /** While the answer is still to come, calls may fail as they do when Vault is away. */
  duringOutage<T>(doing: () => Promise<T>): Promise<T>;
  isOutage(): boolean;
  /** What no call has shown, e.g. a rotation that was not announced. */
  wrong(sentence: string): void;
  recordStatus(ms: number): void;
  /** The Status calls and the most calls under way since this was asked last. */
  sinceLast(): { readonly status: Latencies; readonly inFlight: number };
  counts(): Counts;
};

export type Counts = {
  readonly inFlight: number;
  readonly calls: number;
  /** Failed while Vault was away. */
  readonly excused: number;
  readonly wrong: number;
  /** The first ones, with how often. */
  readonly sentences: ReadonlyMap<string, number>;
};

const OF_AN_OUTAGE: readonly number[] = [
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
];
const MOST_SENTENCES = 20;

/** Nothing has been called yet. */
export function createTally(): Tally {
  const sentences = new Map<string, number>();
  let [inFlight, calls, excused, wrong, outages, most] = [0, 0, 0, 0, 0, 0];
  let outage = false;
  let latencies = createLatencies();
  const noteWrong = (sentence: string): void => {
    wrong += 1;
    if (sentences.has(sentence) || sentences.size < MOST_SENTENCES)
      sentences.set(sentence, (sentences.get(sentence) ?? 0) + 1);
  };
  return {
    async run(what, call) {
      const [outageBefore, outagesBefore] = [outage, outages];
      inFlight += 1;
      most = Math.max(most, inFlight);
      try {
        await call();
      } catch (error) {
        const { code, message } = error as ServiceError;
        const away = outage || outageBefore || outages !== outagesBefore;
        if (away && OF_AN_OUTAGE.includes(code)) excused += 1;
        else noteWrong(`${what}: ${message}`);
      }
      inFlight -= 1;
      calls += 1;
    },
    async duringOutage(doing) {
      outage = true;
      outages += 1;
      try {
        return await doing();
      } finally {
        outage = false;
      }
    },
    isOutage: () => outage,
    wrong: noteWrong,
    recordStatus: (ms) => latencies.record(ms),
    sinceLast() {
      const last = { status: latencies, inFlight: most };
      latencies = createLatencies();
      most = inFlight;
      return last;
    },
    counts: () => ({ inFlight, calls, excused, wrong, sentences }),
  };
}
