/** So many calls at a time for so long, and how they went. */
import { setImmediate as turn } from 'node:timers/promises';
import { type Clock, sleep } from '../../system/clock.ts';
import { createLatencies } from './latencies.ts';

/** Answers why it failed, or undefined where it went well; never rejects. */
export type Call = (signal: AbortSignal) => Promise<string | undefined>;

/** Rate and times are those of the calls that went well; a time is undefined without such a call. */
export type Figures = {
  readonly calls: number;
  readonly callsPerSecond: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly errors: number;
  readonly firstError: string | undefined;
};

export type LoadOptions = {
  readonly concurrency: number;
  readonly ms: number;
  readonly clock: Clock;
  /** Ends it early; calls that this makes fail are not counted. */
  readonly signal: AbortSignal;
};

/** What is refused at once must not become a flood of calls. */
const PAUSE_AFTER_ERROR_MS = 100;
/** A provider in this process answers without ever waiting: signals and timers need their turn. */
const TURN_MS = 10;

/** Each of the workers makes one call after the other; what runs at the end is waited for. */
export async function load(call: Call, options: LoadOptions): Promise<Figures> {
  const { concurrency, ms, clock, signal } = options;
  const latencies = createLatencies();
  const began = clock.now();
  let lastTurn = began;
  let errors = 0;
  let firstError: string | undefined;
  const worker = async (): Promise<void> => {
    for (let now = began; now - began < ms && !signal.aborted; now = clock.now()) {
      if (now - lastTurn > TURN_MS) {
        await turn();
        lastTurn = clock.now();
      }
      const sent = clock.now();
      const why = await call(signal);
      if (why === undefined) {
        latencies.record(clock.now() - sent);
      } else if (!signal.aborted) {
        errors += 1;
        firstError ??= why;
        await sleep(clock, PAUSE_AFTER_ERROR_MS, signal);
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  const elapsedMs = clock.now() - began;
  const calls = latencies.count();
  return {
    calls,
    callsPerSecond: elapsedMs > 0 ? (calls * 1000) / elapsedMs : 0,
    p50Ms: latencies.percentile(50),
    p99Ms: latencies.percentile(99),
    errors,
    firstError,
  };
}
