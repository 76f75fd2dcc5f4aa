/**
 * Trying again within the caller's deadline: a transient outage that ends in time is not the
 * caller's trouble.
 */

import type { Result } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import { type Clock, sleep } from '../system/clock.ts';
import { mayPass } from './backoff.ts';

export type Patience = {
  /** The caller's deadline. */
  readonly signal: CallSignal;
  readonly useless: () => boolean;
  readonly clock: Clock;
};

/** Replication to a standby takes some milliseconds, to another region up to seconds. */
const BEHIND_FIRST_MS = 50;
const BEHIND_MOST_MS = 500;

/**
 * Attempts again until the outcome is one that waiting cannot change, the signal aborts or there is
 * no use in it any more; then the last outcome stands, and what an earlier attempt failed of where
 * the last one was cut short. Each attempt waits in the provider's queue for as long as that provider
 * asks for; only where one call alone has a reason to wait, a version that a server does not know
 * yet, the wait is here.
 */
export async function patiently<T>(
  first: Result<T>,
  attempt: () => Promise<Result<T>>,
  { signal, useless, clock }: Patience,
): Promise<Result<T>> {
  let before = first;
  let behindMs = BEHIND_FIRST_MS;
  for (;;) {
    if (before.ok || !mayPass(before.error) || signal.aborted || useless()) return before;
    if (before.error.kind === 'behind') {
      if (!(await sleep(clock, behindMs, signal))) return before;
      behindMs = Math.min(BEHIND_MOST_MS, behindMs * 2);
    }
    const outcome = await attempt();
    if (!outcome.ok && mayPass(outcome.error) && signal.aborted) return before;
    before = outcome;
  }
}
