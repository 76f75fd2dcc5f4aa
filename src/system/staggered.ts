/** Several ways to one result: begun in their order, without waiting for one that does not answer. */
import type { CallSignal } from './call-signal.ts';
import { type Clock, sleep } from './clock.ts';

/** Longer than a way that works takes, and short enough to leave time for the others. */
const NEXT_AFTER_MS = 300;

export type Attempt<T> = (signal: AbortSignal) => Promise<T>;

export type Staggered<T> = {
  /** The first outcome that is good enough; undefined where none is. */
  readonly good: T | undefined;
  /** All outcomes in the order of the attempts; empty where there is a good one. */
  readonly outcomes: readonly T[];
};

/**
 * The next attempt begins when the one before it has ended, or has not for a while; those that are
 * left over when there is a good outcome are aborted, and so are all when the signal aborts. An
 * attempt must end when its signal aborts, and must not reject.
 *
 * @param attempts taken one by one, each only when it is to begin
 */
export async function staggered<T>(
  attempts: Iterable<Attempt<T>>,
  isGood: (outcome: T) => boolean,
  clock: Clock,
  signal: CallSignal,
): Promise<Staggered<T>> {
  const round = new AbortController();
  const abort = (): void => round.abort();
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  const found = Promise.withResolvers<Staggered<T>>();
  let isFound = false;
  const begun: Promise<T>[] = [];
  try {
    for (const attempt of attempts) {
      const outcome = attempt(round.signal);
      begun.push(outcome);
      const early = new AbortController();
      const ended = outcome.then((good) => {
        if (!isGood(good)) return;
        isFound = true;
        found.resolve({ good, outcomes: [] });
      });
      await Promise.race([ended, found.promise, sleep(clock, NEXT_AFTER_MS, early.signal)]);
      early.abort();
      if (isFound || round.signal.aborted) break;
    }
    const all = Promise.all(begun).then((outcomes) => ({ good: undefined, outcomes }));
    return await Promise.race([found.promise, all]);
  } finally {
    signal.removeEventListener('abort', abort);
    abort();
  }
}
