/** Several providers that may be able to decrypt the same: whichever does so first. */
import type { Result } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import { type Attempt, staggered } from '../system/staggered.ts';
import { isTransient } from './state.ts';

/**
 * The first good result. Where all fail the worst failure stands: as long as one that might have
 * succeeded was not reached, nothing definitive can be said.
 */
export async function firstGood<T>(
  attempts: readonly Attempt<Result<T>>[],
  clock: Clock,
  signal: CallSignal,
): Promise<Result<T>> {
  const { good, outcomes } = await staggered(attempts, ({ ok }) => ok, clock, signal);
  const [first] = outcomes;
  const worst = good ?? outcomes.find((o) => !o.ok && isTransient(o.error.kind)) ?? first;
  if (worst === undefined) throw new Error('there was nothing to attempt');
  return worst;
}
