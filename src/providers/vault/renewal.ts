/** When a token is renewed, and when renewing no longer helps. Milliseconds throughout. */

/** Early enough that a whole third of the life is left for trying again. */
const RENEW_AT = 2 / 3;
const JITTER = 0.1;
/** Timers of Node hold 24 days; a day is often enough for the longest life. */
const MOST_MS = 24 * 3_600_000;
const RETRY_MOST_MS = 5_000;
/** Under every delay: the last second of a token must not become a stream of requests. */
export const LEAST_DELAY_MS = 1_000;
/** Whole seconds and the way to Vault cost a renewed token a little; its greatest life costs it more. */
const SHRUNKEN = 0.9;

/** How long to wait with the renewal; undefined for a token that never expires. `random` in [0, 1). */
export function renewalDelay(ttlMs: number, random: number): number | undefined {
  if (!Number.isFinite(ttlMs)) return undefined;
  return Math.min(MOST_MS, Math.max(LEAST_DELAY_MS, ttlMs * RENEW_AT * (1 - JITTER * random)));
}

/** How long to wait after a renewal that failed, with so much of the life left. */
export function retryDelay(leftMs: number, random: number): number {
  return Math.max(LEAST_DELAY_MS, Math.min(RETRY_MOST_MS, leftMs / 4) * (1 - random / 2));
}

/**
 * Whether a renewed life shows that the greatest one is near: Vault answers 200 all the same, but
 * grants less than at first, and in the end nothing.
 */
export function shrinks(renewedMs: number, grantedMs: number): boolean {
  return renewedMs < grantedMs * SHRUNKEN;
}
