/**
 * Trying again within the caller's deadline: a transient outage that ends in time is not the
 * caller's trouble.
 */

import type { ProviderErrorKind, Result } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import { type Clock, sleep } from '../system/clock.ts';

const FIRST_WAIT_MS = 50;
const MOST_WAIT_MS = 500;

/**
 * Attempts until the outcome is one that waiting cannot change or the signal aborts; then the last
 * outcome stands, and what an earlier attempt failed of where the last one was cut short.
 * `recovered` resolves as soon as there is reason to believe that the provider is back, so that a
 * waiting call does not sit out its back-off.
 */
export async function patiently<T>(
  attempt: () => Promise<Result<T>>,
  recovered: (signal: CallSignal) => Promise<void>,
  clock: Clock,
  signal: CallSignal,
): Promise<Result<T>> {
  let wait = FIRST_WAIT_MS;
  let before: Result<T> | undefined;
  for (;;) {
    const outcome = await attempt();
    if (outcome.ok || !mayPass(outcome.error.kind)) return outcome;
    if (signal.aborted) return before ?? outcome;
    before = outcome;
    const asked = outcome.error.retryAfterMs;
    const pause = asked ?? wait * (1 - clock.random() / 2);
    wait = Math.min(MOST_WAIT_MS, wait * 2);
    const round = new AbortController();
    const end = (): void => round.abort();
    signal.addEventListener('abort', end, { once: true });
    // One that asked to be left alone is left alone, whatever else is seen meanwhile.
    const back = asked === undefined ? [recovered(round.signal)] : [];
    await Promise.race([sleep(clock, pause, round.signal), ...back]);
    signal.removeEventListener('abort', end);
    round.abort();
    if (signal.aborted) return outcome;
  }
}

function mayPass(kind: ProviderErrorKind): boolean {
  return kind === 'unavailable' || kind === 'throttled';
}
