/**
 * The life of a token: logging in, renewing, and logging in again when that no longer helps. All
 * callers share one login. Waiting for Vault to come back is the callers' doing, who ask again; the
 * only timer here is the one of the renewal.
 */
import { createHash } from 'node:crypto';
import type { Log } from '../../observe/log.ts';
import type { Clock, Timer } from '../../system/clock.ts';
import { within } from '../../system/within.ts';
import { fail, type ProviderError, type Result, succeed } from '../errors.ts';
import { loginOf } from './auth/credentials-login.ts';
import {
  type AuthMethod,
  type Credentials,
  type Login,
  revocationOf,
  type Send,
} from './auth/login.ts';
import { createRelogins, refusedWait } from './relogin.ts';
import { renewalDelay, retryDelay, shrinks } from './renewal.ts';

export type Session = {
  /** The token to use now; logs in where there is none. */
  token(signal: AbortSignal): Promise<Result<string>>;
  /**
   * Vault did not accept a token: answers another one, from a login that all callers share, or why
   * there is none. `why` is what Vault said.
   */
  replace(rejected: string, why: ProviderError, signal: AbortSignal): Promise<Result<string>>;
  /** What Vault made of the token that `replace` answered. */
  tried(token: string, accepted: boolean): void;
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
/** A network file system may hang for ever. */
const READ_LIMIT_MS = 2_000;
const REVOKE_TIMEOUT_MS = 1_000;
/** Longer than any request may take. */
const RETIRE_AFTER_MS = 10_000;

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
  let lastCredentials: string | undefined;
  let timer: Timer | undefined;
  const relogins = createRelogins(clock);
  /** Tokens of ours that are in use no longer, and are given back once nobody is under way with them. */
  const replaced = new Map<string, Timer>();

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

  const revoke = async (token: string): Promise<void> => {
    replaced.get(token)?.cancel();
    replaced.delete(token);
    await limited(REVOKE_TIMEOUT_MS, (signal) => send(revocationOf(token), signal));
  };

  const logIn = async (signal: AbortSignal): Promise<Result<string>> => {
    const read = await method.credentials();
    if (!read.ok) return read;
    const fingerprint = fingerprintOf(read.value);
    lastCredentials = fingerprint;
    if (refused?.credentials === fingerprint && clock.now() < refused.until) return refused.failure;
    const refreshed = await options.refresh();
    if (!refreshed.ok) return refreshed;
    const login = await method.login(read.value, send, signal);
    if (signal.aborted) {
      // Nobody waits for it any more, and nobody would give it back.
      if (login.ok && login.value.own) await revoke(login.value.token);
      return fail('unavailable', 'logging in to Vault takes too long');
    }
    if (!login.ok) {
      if (login.error.kind !== 'denied') return login;
      const times = refused?.credentials === fingerprint ? refused.times + 1 : 0;
      const wait = refusedWait(times, method.locksOut);
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
    retireHeld(login.value.token);
    hold(login.value, login.value.ttlMs);
    log.info?.('logged in', {
      method: method.name,
      ttlSeconds: secondsOf(login.value.ttlMs),
      renewable: login.value.renewable,
    });
    return succeed(login.value.token);
  };

  const shareLogin = (): Promise<Result<string>> => {
    if (lifetime.signal.aborted)
      return Promise.resolve(fail('unavailable', 'the session has ended'));
    pending ??= limited(LOGIN_TIMEOUT_MS, (signal) => unlessAborted(logIn(signal), signal)).finally(
      () => {
        pending = undefined;
      },
    );
    return pending;
  };

  /** Requests that are under way with the token still need it for a moment. */
  const retireHeld = (next: string): void => {
    if (held === undefined || !held.login.own || clock.now() >= held.expiresAt) return;
    const { token } = held.login;
    if (token !== next) {
      replaced.set(
        token,
        clock.setTimer(RETIRE_AFTER_MS, () => void revoke(token)),
      );
    }
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
    if (outcome.ok || lifetime.signal.aborted) return;
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
      holds: 'auth',
    } as const;
    const replied = await limited(LOGIN_TIMEOUT_MS, (signal) => send(request, signal));
    // Another token came into use meanwhile: what became of this one is of no interest any more.
    if (held !== renewing) return succeed(login.token);
    if (!replied.ok) return replied;
    const { failure } = replied.value;
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
    async token(signal) {
      if (held !== undefined && clock.now() < held.expiresAt) return succeed(held.login.token);
      return await unlessAborted(shareLogin(), signal);
    },
    async replace(rejected, why, signal) {
      const inUse = held?.login.token;
      if (inUse !== undefined && inUse !== rejected) return succeed(inUse);
      const denied = fail('denied', `${why.message}; ${method.advice}`);
      if (pending === undefined && !relogins.allowed()) {
        const changed = await within(clock, READ_LIMIT_MS, credentialsChanged(), () => false);
        if (!changed) return denied;
      }
      const again = await unlessAborted(shareLogin(), signal);
      return again.ok && again.value === rejected ? denied : again;
    },
    tried: relogins.tried,
    async stop() {
      lifetime.abort();
      timer?.cancel();
      const tokens = [...replaced.keys(), ...(held?.login.own === true ? [held.login.token] : [])];
      held = undefined;
      await Promise.all(tokens.map(revoke));
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
