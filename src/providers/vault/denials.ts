/**
 * Paths that Vault denied to a fresh token too, or to the only token that there is. Neither a policy
 * that denies nor a token that is no good any more may turn a stream of calls into a stream of
 * logins: until the wait is over the diagnosis holds. Any success on the path ends it.
 */
import type { Clock } from '../../system/clock.ts';
import type { Result } from '../errors.ts';

type Failure = Extract<Result<never>, { ok: false }>;

/** What Vault denied a request for: the token itself, or the policies of a token that it takes. */
export type DeniedFor = 'token' | 'policy';

export type Denials = {
  /**
   * What is known of the path while another login makes no sense. A diagnosis of the policies says
   * nothing of a token that Vault does not take any more: that one is replaced.
   */
  holds(path: string, reason: DeniedFor): Failure | undefined;
  /** A login did not help: the diagnosis holds for a while, longer each time in a row. */
  denied(path: string, reason: DeniedFor, diagnosis: Failure): void;
  /** Vault did what was asked there: nothing is held against the path any more. */
  accepted(path: string): void;
};

const FIRST_MS = 10_000;
const MOST_MS = 60_000;

/** Nothing was denied yet. */
export function createDenials(clock: Clock): Denials {
  type Denial = { reason: DeniedFor; diagnosis: Failure; until: number; times: number };
  const denials = new Map<string, Denial>();
  return {
    holds(path, reason) {
      const known = denials.get(path);
      if (known?.reason === 'policy' && reason === 'token') return undefined;
      return known !== undefined && clock.now() < known.until ? known.diagnosis : undefined;
    },
    denied(path, reason, diagnosis) {
      const before = denials.get(path);
      // Calls that were under way together are one denial.
      if (before !== undefined && clock.now() < before.until) {
        Object.assign(before, { reason, diagnosis });
        return;
      }
      const times = (before?.times ?? 0) + 1;
      const until = clock.now() + Math.min(MOST_MS, FIRST_MS * 2 ** (times - 1));
      denials.set(path, { reason, diagnosis, until, times });
    },
    accepted: (path) => void denials.delete(path),
  };
}
