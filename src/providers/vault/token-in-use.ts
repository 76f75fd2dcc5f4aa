/**
 * The token that requests are made with: renewed before its end, and replaced where that no longer
 * helps. The only timer is the one of the renewal.
 */
import type { Log } from '../../observe/log.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import { withLimit } from '../../system/within.ts';
import { type Result, succeed } from '../errors.ts';
import { renewedLifeOf } from './auth/credentials-login.ts';
import type { Login, Send } from './auth/login.ts';
import { LEAST_DELAY_MS, renewalDelay, retryDelay, shrinks } from './renewal.ts';
import { mayBeDone } from './verdict.ts';

/** A token and since when it is in use. Times are milliseconds since the epoch. */
export type Held = {
  readonly login: Login;
  /** When it was granted, or read. */
  readonly since: number;
  readonly expiresAt: number;
  /** What Vault granted at the login, to compare renewals with. */
  readonly grantedMs: number;
};

export type TokenInUse = {
  /** Undefined before the first login, and once the token has ended. */
  current(): Held | undefined;
  /** The token that was in use last, whether it has ended or not. */
  last(): Held | undefined;
  /**
   * How long Vault may know the token that was in use last, in milliseconds; 0 or less where it has ended.
   * It may be longer than it is used: the answer of a renewal may be lost.
   */
  mayLiveMs(): number;
  /** Puts a token in use, in the place of another. */
  hold(login: Login): void;
  /** Vault took it: from now on it counts as proven. */
  proven(): void;
  /** Ends the renewal; answers the token that was in use. */
  stop(): Held | undefined;
};

export type TokenInUseOptions = {
  readonly method: string;
  readonly send: Send;
  readonly clock: Clock;
  readonly log: Log;
  /** Logs in; the token of the login is put in use by that. */
  readonly logIn: () => Promise<Result<string>>;
};

/** A renewal leaves no other token behind, so that it may be cut off. */
const RENEW_LIMIT_MS = 10_000;
/** The user or the certificate that the token was granted to is not in Vault any more (userpass, cert). */
const NO_CONTENT = 204;

/** No token yet. */
export function createTokenInUse(options: TokenInUseOptions): TokenInUse {
  const { method, send, clock, log, logIn } = options;
  let held: Held | undefined;
  let timer: Timer | undefined;
  let saidWhy: string | undefined;
  /** Until when Vault may know the token. */
  let mayLiveUntil = 0;
  const lifetime = new AbortController();

  const put = (login: Login, since: number, grantedMs: number): void => {
    // A token in its last second has a ttl of 0: one that lives no longer is not read again and again.
    const life = login.own ? login.ttlMs : Math.max(login.ttlMs, LEAST_DELAY_MS);
    held = { login, since, expiresAt: clock.now() + life, grantedMs };
    mayLiveUntil = held.expiresAt;
    timer?.cancel();
    timer = undefined;
    const delay = renewalDelay(login.ttlMs, clock.random());
    if (delay !== undefined && !lifetime.signal.aborted)
      timer = clock.setTimer(delay, () => void prolong());
  };

  /** Renews, or logs in again; the token in use stays in use until there is a better one. */
  const prolong = async (): Promise<void> => {
    const now = held;
    if (now === undefined || lifetime.signal.aborted) return;
    const outcome = now.login.renewable ? await renew(now) : await logIn();
    if (lifetime.signal.aborted) return;
    if (outcome.ok) {
      saidWhy = undefined;
      return;
    }
    const why = outcome.error.message;
    log[why === saidWhy ? 'debug' : 'warn']?.('token not renewed yet', { method, why });
    saidWhy = why;
    const left = now.expiresAt - clock.now();
    if (left > 0 && held === now)
      timer = clock.setTimer(retryDelay(left, clock.random()), () => void prolong());
  };

  /** https://developer.hashicorp.com/vault/api-docs/auth/token#renew-a-token-self */
  const renew = async (renewing: Held): Promise<Result<string>> => {
    const { login, since, grantedMs } = renewing;
    const request = {
      method: 'POST',
      path: 'auth/token/renew-self',
      token: login.token,
      body: {},
      what: 'renewing the token',
      holds: 'renewal',
      uncached: true,
    } as const;
    const replied = await withLimit(clock, RENEW_LIMIT_MS, lifetime.signal, (signal) =>
      send(request, signal),
    );
    // Another token came into use meanwhile: what became of this one is of no interest any more.
    if (held !== renewing) return succeed(login.token);
    if (mayBeDone(replied)) mayLiveUntil = Math.max(mayLiveUntil, clock.now() + grantedMs);
    if (!replied.ok) return replied;
    const { failure } = replied.value;
    if (failure !== undefined) {
      const { kind } = failure.error;
      return kind === 'unavailable' || kind === 'throttled' ? failure : await logIn();
    }
    if (replied.value.status === NO_CONTENT) return await logIn();
    const renewed = renewedLifeOf(replied.value);
    if (!renewed.ok) return renewed;
    const ttlMs = renewed.value;
    // Near its greatest life a token is given ever less: from then on only a new login helps.
    if (!Number.isFinite(ttlMs)) return await logIn();
    const exhausted = shrinks(ttlMs, grantedMs);
    log.debug?.('token renewed', { ttlSeconds: Math.round(ttlMs / 1000), last: exhausted });
    put({ ...login, ttlMs, renewable: !exhausted }, since, Math.max(grantedMs, ttlMs));
    return succeed(login.token);
  };

  return {
    current: () => (held !== undefined && clock.now() < held.expiresAt ? held : undefined),
    last: () => held,
    mayLiveMs: () => mayLiveUntil - clock.now(),
    hold: (login) => put(login, clock.now(), login.ttlMs),
    proven() {
      if (held !== undefined) held = { ...held, login: { ...held.login, proven: true } };
    },
    stop() {
      lifetime.abort();
      timer?.cancel();
      timer = undefined;
      const last = held;
      held = undefined;
      return last;
    },
  };
}
