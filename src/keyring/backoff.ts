/**
 * How long a provider is left alone: as long as it asked for, and a little longer after each failure
 * in a row.
 *
 * One for each provider and not one for each call: callers that backed off by themselves would come
 * back one by one, and a Vault in trouble would get as many requests as there are calls.
 */
import type { ProviderError, Result } from '../providers/errors.ts';
import type { Clock, Timer } from '../system/clock.ts';

export type Backoff = {
  /** Whether nothing may be sent to the provider now. */
  holds(): boolean;
  /** Whether the last that is known of the provider is that it does not answer as it should. */
  isAway(): boolean;
  /** Until when the provider asked to be left alone, in milliseconds since the epoch; 0 if it did not. */
  askedUntil(): number;
  /** What the provider said last while nothing may be sent; empty otherwise. */
  why(): string;
  /**
   * What came of one request, item by item. An answer ends every wait, but for a request that was
   * sent before a limit was reached, and says nothing of the limit.
   *
   * @param began when it was sent, in milliseconds since the epoch; now where it is not given
   */
  saw(results: readonly Result<unknown>[], began?: number): void;
  /** The provider was seen to answer again: ends every wait. */
  recovered(): void;
  /** Calls back each time that something may be sent again. */
  onEnd(listener: () => void): void;
  stop(): void;
};

const FIRST_MS = 50;
const MOST_MS = 500;

/** For a provider of which nothing is known yet. */
export function createBackoff(clock: Clock): Backoff {
  const listeners: (() => void)[] = [];
  let timer: Timer | undefined;
  let askedUntil = 0;
  /** Since when a limit of the provider holds; -Infinity where none does. */
  let limitedSince = Number.NEGATIVE_INFINITY;
  let why = '';
  let failures = 0;
  let away = false;

  const end = (): void => {
    timer?.cancel();
    timer = undefined;
    askedUntil = 0;
    limitedSince = Number.NEGATIVE_INFINITY;
    for (const listener of listeners) listener();
  };
  const hold = (ms: number, message: string): void => {
    timer?.cancel();
    why = message;
    timer = clock.setTimer(ms, end);
  };
  const recovered = (): void => {
    away = false;
    if (timer !== undefined) end();
  };

  return {
    holds: () => timer !== undefined,
    isAway: () => away,
    askedUntil: () => askedUntil,
    why: () => (timer === undefined ? '' : why),
    saw(results, began = clock.now()) {
      if (results.length > 0) away = results.every(passing);
      const asked = longestWait(results);
      if (asked !== undefined) {
        const until = clock.now() + asked.ms;
        // A shorter wait does not take back a longer one.
        if (until <= askedUntil) return;
        askedUntil = until;
        if (asked.limit) limitedSince = clock.now();
        hold(asked.ms, asked.message);
        return;
      }
      if (results.some(({ ok }) => ok)) {
        failures = 0;
        if (began >= limitedSince) recovered();
        return;
      }
      const failed = results.find(passing);
      if (failed === undefined) return;
      // Requests that were under way together are one failure.
      if (timer !== undefined) return;
      const wait = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures, 10));
      failures += 1;
      hold(wait * (1 - clock.random() / 2), failed.ok ? '' : failed.error.message);
    },
    recovered,
    onEnd: (listener) => void listeners.push(listener),
    stop() {
      timer?.cancel();
      timer = undefined;
    },
  };
}

/** Whether a failure may pass by itself, so that the same can be asked again. */
export function mayPass({ kind }: ProviderError): boolean {
  return kind === 'unavailable' || kind === 'throttled' || kind === 'behind';
}

/** Whether it is the provider's trouble: that it does not know a version yet concerns one call. */
function passing(result: Result<unknown>): boolean {
  return !result.ok && mayPass(result.error) && result.error.kind !== 'behind';
}

/** A wait that the provider asked for, because of a limit or of trouble. */
type Asked = { readonly ms: number; readonly message: string; readonly limit: boolean };

/** A wait of 0 is none: Vault cuts its header to whole seconds, and a quota's interval is one. */
function longestWait(results: readonly Result<unknown>[]): Asked | undefined {
  let longest: Asked | undefined;
  for (const result of results) {
    if (result.ok) continue;
    const { retryAfterMs: ms, message, kind } = result.error;
    if (ms !== undefined && ms > (longest?.ms ?? 0))
      longest = { ms, message, limit: kind === 'throttled' };
  }
  return longest;
}
