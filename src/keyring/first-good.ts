/** Several providers that may be able to decrypt the same: whichever does so first. */
import type { ProviderErrorKind, Result } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import { type Attempt, staggered } from '../system/staggered.ts';

/**
 * Which failure stands, the first of these: as long as one that might have succeeded was not reached,
 * nothing definitive can be said. A refusal says more than that another provider does not know the
 * version, and that more than that it is no ciphertext of a third one.
 */
const RANK: Readonly<Record<ProviderErrorKind, number>> = {
  unavailable: 0,
  throttled: 0,
  overloaded: 0,
  internal: 0,
  denied: 1,
  unauthenticated: 1,
  behind: 2,
  invalid: 3,
};

/** The first good result. Where all fail the failure of the highest rank stands, the first of it. */
export async function firstGood<T>(
  attempts: readonly Attempt<Result<T>>[],
  clock: Clock,
  signal: CallSignal,
): Promise<Result<T>> {
  const { good, outcomes } = await staggered(attempts, ({ ok }) => ok, clock, signal);
  if (good !== undefined) return good;
  const rank = (outcome: Result<T>): number => (outcome.ok ? 0 : RANK[outcome.error.kind]);
  const [first, ...others] = outcomes;
  if (first === undefined) throw new Error('there was nothing to attempt');
  return others.reduce((worst, one) => (rank(one) < rank(worst) ? one : worst), first);
}
