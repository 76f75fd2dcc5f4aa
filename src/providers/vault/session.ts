/**
 * The life of a token: logging in, renewing, and logging in again when that no longer helps. All
 * callers share one login. Waiting for Vault to come back is the callers' doing, who ask again; the
 * only timer here is the one of the renewal.
 */
import { createHash } from 'node:crypto';
import type { Log } from '../../observe/log.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import { fail, type ProviderError, type Result, succeed } from '../errors.ts';
import { loginOf } from './auth/credentials-login.ts';
import type { AuthMethod, Credentials, Login, Send } from './auth/login.ts';
import { renewalDelay, retryDelay, shrinks } from './renewal.ts';
import { failureOf } from './reply.ts';

export type Session = {
  /** The token to use now; logs in where there is none. */
  token(signal: AbortSignal): Promise<Result<string>>;
  /** Vault accepted a token; a later refusal means that it was revoked, not that it is no good. */
  accepted(token: string): void;
  /**
   * Vault did not accept a token: answers another one, from a login that all callers share, or why
   * there is none. `why` is what Vault said.
   */
  replace(rejected: string, why: ProviderError, signal: AbortSignal): Promise<Result<string>>;
  /** Ends the renewal and gives back a token that we made. */
  stop(): Promise<void>;
};

export type SessionOptions = {
  readonly method: AuthMethod;
  readonly send: Send;
  /** Reads the TLS files anew before a login. */
  readonly refresh: () => Promise<Result<void>>;
  readonly clock: Clock;
  readonly log: Log;
};

/** A login must not hang for ever on behalf of nobody. */
const LOGIN_TIMEOUT_MS = 10_000;
const REVOKE_TIMEOUT_MS = 1_000;
/** A fresh token that was rejected is no reason to log in again at once: the policy is at fault. */
const RELOGIN_SPACING_MS = 10_000;
/** One that worked elsewhere may have been revoked; when that comes in a row, the policy is at fault. */
const RELOGINS_IN_A_ROW = 3;
/** Credentials that Vault refused are sent again ever more rarely: it locks users out. */
const REFUSED_FIRST_MS = 1_000;
const REFUSED_MOST_MS = 30_000;

type Held = {
  readonly login: Login;
  readonly expiresAt: number;
  /** What Vault granted at the login, to compare renewals with. */
  readonly grantedMs: number;
};
type Refused = {
  readonly credentials: string;
  readonly failure: Extract<Result<never>, { ok: false }>;
  readonly until: number;
  readonly times: number;
};

/** A session that has not logged in yet. */
export function createSession(options: SessionOptions): Session {
  const { method, send, clock, log } = options;
  const lifetime = new AbortController();
  let held: Held | undefined;
  let pending: Promise<Result<string>> | undefined;
  let refused: Refused | undefined;
  let replacedAt = Number.NEGATIVE_INFINITY;
  let replacedInARow = 0;
  let lastCredentials: string | undefined;
  /** Whether Vault has accepted the token in use for anything yet. */
  let worked = false;
  let timer: Timer | undefined;

  /**
   * A limit of its own, since a login serves more callers than the one that began it. The end of
   * the session ends what runs then; what is begun afterwards, the revocation, has its time.
   */
  const limited = async <T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const limit = new AbortController();
    const abort = (): void => limit.abort();
    const timeout = clock.setTimer(ms, abort);
    lifetime.signal.addEventListener('abort', abort, { once: true });
    try {
      return await work(limit.signal);
    } finally {
      timeout.cancel();
      lifetime.signal.removeEventListener('abort', abort);
    }
  };

  const logIn = async (): Promise<Result<string>> => {
    if (lifetime.signal.aborted) return fail('unavailable', 'the session has ended');
    const read = await method.credentials();
    if (!read.ok) return read;
    const fingerprint = fingerprintOf(read.value);
    lastCredentials = fingerprint;
    if (refused?.credentials === fingerprint && clock.now() < refused.until) return refused.failure;
    const refreshed = await options.refresh();
    if (!refreshed.ok) return refreshed;
    const login = await limited(LOGIN_TIMEOUT_MS, (signal) =>
      method.login(read.value, send, signal),
    );
    if (lifetime.signal.aborted) return fail('unavailable', 'the session has ended');
    if (!login.ok) {
      if (login.error.kind !== 'denied') return login;
      const times = refused?.credentials === fingerprint ? refused.times + 1 : 0;
      const wait = Math.min(REFUSED_MOST_MS, REFUSED_FIRST_MS * 2 ** times);
      const failure = fail('denied', `${login.error.message}; ${method.advice}`);
      refused = { credentials: fingerprint, failure, until: clock.now() + wait, times };
      log.warn?.('login refused', {
        method: method.name,
        why: login.error.message,
        nextTryInMs: wait,
      });
      return failure;
    }
    refused = undefined;
    worked = false;
    hold(login.value, login.value.ttlMs);
    log.info?.('logged in', {
      method: method.name,
      ttlSeconds: secondsOf(login.value.ttlMs),
      renewable: login.value.renewable,
    });
    return succeed(login.value.token);
  };

  const shareLogin = (): Promise<Result<string>> => {
    pending ??= logIn().finally(() => {
      pending = undefined;
    });
    return pending;
  };

  const hold = (login: Login, grantedMs: number): void => {
    held = { login, expiresAt: clock.now() + login.ttlMs, grantedMs };
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
    const outcome = now.login.renewable ? await renew(now) : await shareLogin();
    if (outcome.ok || held !== now || lifetime.signal.aborted) return;
    log.warn?.('token not renewed yet', { method: method.name, why: outcome.error.message });
    const left = now.expiresAt - clock.now();
    if (left > 0) timer = clock.setTimer(retryDelay(left, clock.random()), () => void prolong());
  };

  /** https://developer.hashicorp.com/vault/api-docs/auth/token#renew-a-token-self */
  const renew = async (renewing: Held): Promise<Result<string>> => {
    const { login, grantedMs } = renewing;
    const request = {
      method: 'POST',
      path: 'auth/token/renew-self',
      token: login.token,
      body: {},
      what: 'renewing the token',
    } as const;
    const replied = await limited(LOGIN_TIMEOUT_MS, (signal) => send(request, signal));
    // Another token came into use meanwhile: what became of this one is of no interest any more.
    if (held !== renewing) return succeed(login.token);
    if (!replied.ok) return replied;
    const failure = failureOf(request, replied.value, clock.now());
    if (failure !== undefined) {
      const { kind } = failure.error;
      return kind === 'unavailable' || kind === 'throttled' ? failure : await shareLogin();
    }
    const renewed = loginOf(replied.value);
    if (!renewed.ok) return renewed;
    // Near its greatest life a token is given ever less: from then on only a new login helps.
    if (!Number.isFinite(renewed.value.ttlMs)) return await shareLogin();
    const exhausted = shrinks(renewed.value.ttlMs, grantedMs);
    log.debug?.('token renewed', { ttlSeconds: secondsOf(renewed.value.ttlMs), last: exhausted });
    const { ttlMs } = renewed.value;
    hold({ ...login, ttlMs, renewable: !exhausted }, Math.max(grantedMs, ttlMs));
    return succeed(login.token);
  };

  /** Whether there are other credentials than those of the last login, so that trying makes sense. */
  const credentialsChanged = async (): Promise<boolean> => {
    const read = await method.credentials();
    return read.ok && fingerprintOf(read.value) !== lastCredentials;
  };

  return {
    accepted(token) {
      if (token === held?.login.token) worked = true;
    },
    async token(signal) {
      if (held !== undefined && clock.now() < held.expiresAt) return succeed(held.login.token);
      return await unlessAborted(shareLogin(), signal);
    },
    async replace(rejected, why, signal) {
      const inUse = held?.login.token;
      if (inUse !== undefined && inUse !== rejected) return succeed(inUse);
      const denied = fail('denied', `${why.message}; ${method.advice}`);
      if (pending === undefined) {
        const sinceLast = clock.now() - replacedAt;
        if (sinceLast >= RELOGIN_SPACING_MS) replacedInARow = 0;
        const tooMany = !worked || replacedInARow >= RELOGINS_IN_A_ROW;
        const soon = sinceLast < RELOGIN_SPACING_MS && tooMany;
        if (soon && !(await credentialsChanged())) return denied;
        replacedAt = clock.now();
        replacedInARow += 1;
      }
      const again = await unlessAborted(shareLogin(), signal);
      return again.ok && again.value === rejected ? denied : again;
    },
    async stop() {
      lifetime.abort();
      timer?.cancel();
      const last = held?.login;
      held = undefined;
      if (last?.own === true) {
        const request = {
          method: 'POST',
          path: 'auth/token/revoke-self',
          token: last.token,
          body: {},
          what: 'revoking the token',
        } as const;
        await limited(REVOKE_TIMEOUT_MS, (signal) => send(request, signal));
      }
    },
  };
}

function fingerprintOf(credentials: Credentials): string {
  return createHash('sha256').update(JSON.stringify(credentials)).digest('base64');
}

function secondsOf(ms: number): number | undefined {
  return Number.isFinite(ms) ? Math.round(ms / 1000) : undefined;
}

/** A caller that can wait no longer leaves; what it waited for goes on for the others. */
async function unlessAborted(
  work: Promise<Result<string>>,
  signal: AbortSignal,
): Promise<Result<string>> {
  const left = Promise.withResolvers<Result<string>>();
  const leave = (): void => left.resolve(fail('unavailable', 'logging in to Vault takes too long'));
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  try {
    return await Promise.race([work, left.promise]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
