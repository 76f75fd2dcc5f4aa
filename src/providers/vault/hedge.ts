/** A request that is slower than nearly all is asked of a second server too; the first answer counts. */
import { type Clock, sleep } from '../../system/clock.ts';
import type { Result } from '../errors.ts';
import type { Latency } from './latency.ts';
import type { VaultReply, VaultRequest } from './reply.ts';
import type { RetryBudget } from './retry-budget.ts';
import type { Server } from './server.ts';
import { bestOf } from './verdict.ts';

export type Outcome = { readonly server: Server; readonly result: Result<VaultReply> };

/** Asks one server, for so many milliseconds at most. */
export type Ask = (
  server: Server,
  request: VaultRequest,
  limitMs: number,
  signal: AbortSignal,
) => Promise<Outcome>;

/** Asks the first server, and the spare where the first is slow. */
export type Hedge = (
  first: Server,
  spare: Server,
  request: VaultRequest,
  limitMs: number,
  signal: AbortSignal,
) => Promise<Outcome>;

export type HedgeOptions = {
  readonly ask: Ask;
  /** Whether an answer is no reason to wait for another one. */
  readonly settles: (result: Result<VaultReply>) => boolean;
  /** Of the requests that may be hedged. */
  readonly latency: Latency;
  readonly budget: RetryBudget;
  readonly clock: Clock;
};

/** Below this a slow answer is more likely our own doing than the server's. */
const LEAST_MS = 20;
/** A server that was overtaken so often in a row counts as one that hangs. */
const OVERTAKEN_MOST = 3;

/** Hedges once enough was seen to know what is slow. */
export function createHedge({ ask, settles, latency, budget, clock }: HedgeOptions): Hedge {
  let overtaken = 0;

  return async (first, spare, request, limitMs, signal) => {
    const p95 = latency.p95();
    if (p95 === undefined) return await ask(first, request, limitMs, signal);
    const rounds = [new AbortController(), new AbortController()] as const;
    const abort = (): void => {
      for (const round of rounds) round.abort();
    };
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    const answered = new AbortController();
    const one = ask(first, request, limitMs, rounds[0].signal);
    try {
      const slow = sleep(clock, Math.max(LEAST_MS, p95), answered.signal);
      const early = await Promise.race([one, slow]);
      if (typeof early !== 'boolean') {
        overtaken = 0;
        return early;
      }
      if (!early || !budget.take()) return await one;
      const two = ask(spare, request, limitMs, rounds[1].signal);
      const winner = await Promise.race([one, two]);
      if (settles(winner.result)) {
        overtaken = winner.server === spare ? overtaken + 1 : 0;
        if (overtaken >= OVERTAKEN_MOST) first.circuit.failed(clock.now());
        return winner;
      }
      const other = await (winner.server === first ? two : one);
      return bestOf([winner.result, other.result]) === winner.result ? winner : other;
    } finally {
      answered.abort();
      signal.removeEventListener('abort', abort);
      abort();
    }
  };
}
