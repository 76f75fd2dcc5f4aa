/** Several ways to one result: asked in their order, without waiting for one that does not answer. */

import type { Result } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import { type Clock, sleep } from '../system/clock.ts';
import { isTransient } from './state.ts';

/** Longer than a way that works takes, and short enough to leave time for the others. */
const NEXT_AFTER_MS = 300;

/**
 * The first good result. The next attempt begins when one has failed, or has not answered for a
 * while; those that are left over when there is a result are aborted. Where all fail the worst
 * failure stands: as long as one that might have succeeded was not reached, nothing definitive can
 * be said.
 */
export async function firstGood<T>(
  attempts: readonly ((signal: CallSignal) => Promise<Result<T>>)[],
  clock: Clock,
  signal: CallSignal,
): Promise<Result<T>> {
  const round = new AbortController();
  const abort = (): void => round.abort();
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  const good = Promise.withResolvers<Result<T>>();
  let found = false;
  const begun: Promise<Result<T>>[] = [];
  try {
    for (const attempt of attempts) {
      const outcome = attempt(round.signal);
      begun.push(outcome);
      const early = new AbortController();
      const failed = outcome.then((result) => {
        if (!result.ok) return;
        found = true;
        good.resolve(result);
      });
      await Promise.race([failed, good.promise, sleep(clock, NEXT_AFTER_MS, early.signal)]);
      early.abort();
      if (found || round.signal.aborted) break;
    }
    return await Promise.race([good.promise, Promise.all(begun).then(worstOf)]);
  } finally {
    signal.removeEventListener('abort', abort);
    abort();
  }
}

function worstOf<T>(outcomes: readonly Result<T>[]): Result<T> {
  const [first] = outcomes;
  if (first === undefined) throw new Error('there was nothing to attempt');
  const good = outcomes.find(({ ok }) => ok);
  return good ?? outcomes.find((o) => !o.ok && isTransient(o.error.kind)) ?? first;
}
