/** Requests that Vault denied: what it says of their tokens, and the diagnosis that holds meanwhile. */
import type { Clock } from '../../system/clock.ts';
import type { Result } from '../errors.ts';
import type { AuthMethod, Send } from './auth/login.ts';
import { createDenials } from './denials.ts';
import { type Denied, deniedFor, diagnose, type Standing, standingOf } from './diagnosis.ts';
import type { TokenInUse } from './token-in-use.ts';

type Failure = Extract<Result<never>, { ok: false }>;

export type DeniedRequests = {
  /** The diagnosis of a path while another login makes no sense. */
  known(denied: Denied): Failure | undefined;
  /** What Vault says of the token; all callers that were denied the same path ask once. */
  standing(denied: Denied, token: string): Promise<Standing>;
  /**
   * The diagnosis, which holds for a while from now on.
   *
   * @param refine replaces the diagnosis before it is kept
   */
  conclude(
    token: string,
    denied: Denied,
    found: Standing,
    refine?: (diagnosis: Failure) => Failure,
  ): Failure;
  /** Vault did what was asked there. */
  accepted(path: string): void;
};

export type DeniedRequestsOptions = {
  readonly method: AuthMethod;
  readonly send: Send;
  readonly clock: Clock;
  readonly inUse: Pick<TokenInUse, 'last'>;
};

/** A token of at most this age is never the fault where its policy can be. */
export const FRESH_MS = 10_000;

/** Nothing was denied yet. */
export function createDeniedRequests(options: DeniedRequestsOptions): DeniedRequests {
  const { method, send, clock, inUse } = options;
  const denials = createDenials(clock);
  const standings = new Map<string, Promise<Standing>>();
  return {
    known: (denied) => denials.holds(denied.request.path, deniedFor(denied)),
    accepted: denials.accepted,
    standing(denied, token) {
      const key = `${denied.request.path} ${token}`;
      const known = standings.get(key);
      if (known !== undefined) return known;
      const asking = standingOf(denied, token, send, clock).finally(() => standings.delete(key));
      standings.set(key, asking);
      return asking;
    },
    conclude(token, denied, found, refine = (diagnosis) => diagnosis) {
      const held = inUse.last();
      const isHeld = held?.login.token === token;
      const age = isHeld ? clock.now() - held.since : 0;
      const own = isHeld ? held.login.own : method.tokenPlace === undefined;
      const facts = { token, own, fresh: age < FRESH_MS };
      const diagnosis = refine(diagnose(denied, facts, found, method));
      const reason = found.kind === 'not taken' ? 'token' : 'policy';
      denials.denied(denied.request.path, reason, diagnosis);
      return diagnosis;
    },
  };
}
