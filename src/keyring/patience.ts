/**
 * Trying again within the caller's deadline: a transient outage that ends in time is not the
 * caller's trouble.
 */

import type { Result } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import { mayPass } from './backoff.ts';

/**
 * Attempts again until the outcome is one that waiting cannot change, the signal aborts or there is
 * no use in it any more; then the last outcome stands, and what an earlier attempt failed of where
 * the last one was cut short. It does not wait by itself: each attempt waits in the provider's queue
 * for as long as that provider is to be left alone.
 */
export async function patiently<T>(
  first: Result<T>,
  attempt: () => Promise<Result<T>>,
  { signal, useless }: { readonly signal: CallSignal; readonly useless: () => boolean },
): Promise<Result<T>> {
  let before = first;
  for (;;) {
    if (before.ok || !mayPass(before.error) || signal.aborted || useless()) return before;
    const outcome = await attempt();
    if (!outcome.ok && mayPass(outcome.error) && signal.aborted) return before;
    before = outcome;
  }
}
