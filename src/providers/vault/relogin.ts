/**
 * When trying to log in makes sense again: neither a policy that denies nor credentials that are no
 * good any more may turn a stream of calls into a stream of logins.
 */
import type { Clock } from '../../system/clock.ts';

export type Relogins = {
  /** Whether a token that was refused is a reason to log in again now. */
  allowed(): boolean;
  /** What Vault made of the token that replaced a refused one; told once or more of each. */
  tried(token: string, accepted: boolean): void;
};

const FUTILE_FIRST_MS = 10_000;
const FUTILE_MOST_MS = 60_000;

/** Allowed from the start. */
export function createRelogins(clock: Clock): Relogins {
  let futile = 0;
  let last: string | undefined;
  let quietUntil = 0;
  return {
    allowed: () => clock.now() >= quietUntil,
    tried(token, accepted) {
      if (accepted) {
        futile = 0;
        quietUntil = 0;
        return;
      }
      // Where a fresh token is refused too the policy is at fault, and no login will help.
      if (token === last) return;
      last = token;
      futile += 1;
      quietUntil = clock.now() + Math.min(FUTILE_MOST_MS, FUTILE_FIRST_MS * 2 ** (futile - 1));
    },
  };
}

/**
 * The waits after credentials were refused, in milliseconds; the last one holds from then on. Vault
 * 1.13 and newer locks a user out for 15 minutes after five refusals, whoever sends them: a node
 * with an old secret id must not lock out the whole role.
 * https://developer.hashicorp.com/vault/docs/concepts/user-lockout
 */
const WAITS_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
const WAITS_WITH_LOCKOUT_MS = [5_000, 30_000, 16 * 60_000];

/** How long to wait before the same credentials are sent again; `times` they were refused already. */
export function refusedWait(times: number, locksOut: boolean): number {
  const waits = locksOut ? WAITS_WITH_LOCKOUT_MS : WAITS_MS;
  return waits[Math.min(times, waits.length - 1)] ?? 0;
}
