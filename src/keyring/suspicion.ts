/**
 * Which failures of calls are worth a look at the provider: the first of its kind at once, and ever
 * fewer of those after it that a look did not confirm. One ciphertext that may not be decrypted any
 * more, asked for over and over, must not become a load on Vault.
 */
import type { ProviderErrorKind } from '../providers/errors.ts';
import type { Clock } from '../system/clock.ts';

/** What calls see of a provider that its watcher does not know. */
export type Sign = ProviderErrorKind | 'newer version';

export type Suspicion = {
  /** Whether to look now because of this. */
  worthALook(sign: Sign): boolean;
  /** A look has found that something is wrong indeed, or that it is over. */
  clear(): void;
};

const FIRST_MS = 250;
const MOST_MS = 30_000;
/** One that is down is no worse for being looked at, and Status must not say for long that all is well. */
const MOST_OF_AN_OUTAGE_MS = 2_000;

/** One that has seen nothing. */
export function createSuspicion(clock: Clock): Suspicion {
  const quiet = new Map<Sign, { readonly until: number; readonly ms: number }>();
  return {
    worthALook(sign) {
      const now = clock.now();
      const last = quiet.get(sign);
      if (last !== undefined && now < last.until) return false;
      const isNews = last === undefined || now >= last.until + MOST_MS;
      const ms = isNews ? FIRST_MS : Math.min(mostOf(sign), last.ms * 2);
      quiet.set(sign, { until: now + ms, ms });
      return true;
    },
    clear: () => quiet.clear(),
  };
}

function mostOf(sign: Sign): number {
  return sign === 'unavailable' || sign === 'throttled' ? MOST_OF_AN_OUTAGE_MS : MOST_MS;
}
