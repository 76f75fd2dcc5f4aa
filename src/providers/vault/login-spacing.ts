/**
 * When the next login may be sent to a server. Where an answer is lost after Vault has granted a token,
 * nobody can give that token back: so logins that may have left one follow each other ever more slowly.
 * What has certainly left no token costs no time.
 */
import type { Clock } from '../../system/clock.ts';
import { fail, type Result } from '../errors.ts';
import type { Failure } from './errors.ts';
import type { VaultReply } from './reply.ts';
import { tokenOf } from './verdict.ts';

export type LoginSpacing = {
  /** Why no login is sent now, and how long it is not; undefined where one may be sent. */
  held(): Failure | undefined;
  /** Sends a login, and learns from its outcome, also where its caller has left by then. */
  send(login: () => Promise<Result<VaultReply>>): Promise<Result<VaultReply>>;
};

/** From the begin of one login to the begin of the next. */
const FIRST_MS = 1_000;
const MOST_MS = 10_000;

/** For a server that no login was sent to. */
export function createLoginSpacing(clock: Clock): LoginSpacing {
  /** Logins in a row that may have left a token, one that is under way among them. */
  let times = 0;
  let notBefore = 0;
  let why = 'logging in to Vault: no answer yet';

  const learn = (result: Result<VaultReply>): void => {
    switch (tokenOf(result)) {
      case 'granted':
        times = 0;
        notBefore = 0;
        return;
      case 'none':
        times = Math.max(0, times - 1);
        notBefore = 0;
        return;
      case 'maybe lost': {
        const failure = result.ok ? result.value.failure : result;
        why = failure?.error.message ?? why;
      }
    }
  };

  return {
    held() {
      const retryAfterMs = notBefore - clock.now();
      if (retryAfterMs <= 0) return undefined;
      const seconds = Math.ceil(retryAfterMs / 1_000);
      const next = `that login may have left a token in Vault, so the next one follows in ${seconds} s`;
      return fail('unavailable', `${why}; ${next}`, { retryAfterMs });
    },
    async send(login) {
      notBefore = clock.now() + Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(times, 10));
      times += 1;
      const result = await login();
      learn(result);
      return result;
    },
  };
}
