/**
 * The life of a token: logging in, renewing, and logging in again when that no longer helps. All
 * callers share one login. At any time the tokens that Vault granted are the one in use, those that
 * were or will be given back, and what a login under way may bring.
 */
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../system/clock.ts';
import { unlessAborted, within, withLimit } from '../../system/within.ts';
import { fail, type Result, succeed } from '../errors.ts';
import { adviceFor, countsForLockout, isTokenDenied } from './auth/advice.ts';
import {
  type Asking,
  type AuthMethod,
  fingerprintOf,
  type Login,
  type LoginFailure,
  type Send,
} from './auth/login.ts';
import type { LoginMemory } from './auth/login-memory.ts';
import { createDeniedRequests, FRESH_MS } from './denied-requests.ts';
import type { Denied, Standing } from './diagnosis.ts';
import { createRevocations } from './revocations.ts';
import { createTokenInUse, type TokenInUse } from './token-in-use.ts';

type Failure = Extract<Result<never>, { ok: false }>;

export type Session = {
  /** The token to use now; logs in where there is none. */
  token(signal: AbortSignal): Promise<Result<string>>;
  /**
   * Vault denied a request: answers the token to send it with once more, from a login that all
   * callers share where that can help, or what is wrong and what to do.
   */
  replace(rejected: string, denied: Denied, signal: AbortSignal): Promise<Result<string>>;
  /** Vault denied it to the token of `replace` too: answers what is wrong and what to do. */
  denied(token: string, denied: Denied): Promise<Failure>;
  /** Vault did what was asked at this path, with this token. */
  accepted(token: string, path: string): void;
  /** Ends the renewal and gives back every token that we made; a login under way has 3 s for that. */
  stop(): Promise<void>;
  /**
   * After the stop: logins that have no answer yet, and tokens that Vault has not taken back; resolves
   * when all are given back, or have ended.
   */
  underWay(): Promise<void> | undefined;
};

export type SessionOptions = {
  readonly method: AuthMethod;
  /** Which Vault this is; with the method's identity it names who logs in where. */
  readonly vault: string;
  readonly memory: Pick<LoginMemory, 'refusals'>;
  readonly send: Send;
  /** Reads the TLS files anew before a login. */
  readonly refresh: () => Promise<Result<void>>;
  readonly clock: Clock;
  readonly log: Log;
};

/**
 * How long a login may take before another one begins, so that few are under way at a time even where
 * Vault is slow. What it brings later is used or given back.
 */
const LOGIN_LIMIT_MS = 30_000;
/** A network file system may hang for ever. */
const READ_LIMIT_MS = 2_000;
/** How long a stop waits for a login that is under way, to give back its token. */
const LATE_AT_STOP_MS = 3_000;
/** Longer than any request may take. */
const RETIRE_AFTER_MS = 10_000;

const TOO_LONG = 'logging in to Vault takes too long';

/** A session that has not logged in yet. */
export function createSession(options: SessionOptions): Session {
  const { method, send, clock, log } = options;
  const { refusals } = options.memory;
  const identity = `${options.vault} ${method.identity}`;
  const lifetime = new AbortController();
  const revocations = createRevocations({ send, clock, log });
  let pending: Promise<Result<string>> | undefined;
  let lastCredentials: string | undefined;
  /** A session is made at the start and by a reload: a person waits for its first login. */
  let asked = true;
  let stopped: Promise<void> | undefined;
  const late = new Set<Promise<void>>();

  const takeLate = (arriving: Promise<Result<Login>>): void => {
    const taken = arriving.then((arrived) => {
      late.delete(taken);
      if (!arrived.ok) return;
      if (lifetime.signal.aborted || inUse.current() !== undefined) giveBack(arrived.value);
      else use(arrived.value);
    });
    late.add(taken);
  };
  const giveBack = (login: Login, afterMs = 0): void => {
    if (login.own) revocations.add(login, afterMs);
  };

  const logIn = async (signal: AbortSignal): Promise<Result<string>> => {
    const read = await method.credentials();
    if (!read.ok) return read;
    const credentials = fingerprintOf(read.value);
    lastCredentials = credentials;
    const known = refusals.holds({ identity, credentials }, asked);
    asked = false;
    if (known !== undefined) return known;
    const refreshed = await options.refresh();
    if (!refreshed.ok) return refreshed;
    const asking: Asking = { send, signal, clock, log, late: takeLate, giveBack };
    const login = await method.login(read.value, asking);
    if (!login.ok) return refusedFor(login, credentials);
    refusals.accepted(identity);
    if (signal.aborted) {
      takeLate(Promise.resolve(login));
      return fail('unavailable', TOO_LONG);
    }
    use(login.value);
    return succeed(login.value.token);
  };

  const refusedFor = (
    { error, refusal, isElsewhere }: LoginFailure,
    credentials: string,
  ): Extract<Result<never>, { ok: false }> => {
    if (error.kind !== 'denied') return { ok: false, error };
    const advice = refusal === undefined ? '' : adviceOf(method, refusal);
    const failure = refusals.refused({
      identity,
      credentials,
      message: advice === '' ? error.message : `${error.message}: ${advice}`,
      counts:
        method.locksOut &&
        refusal?.step === 'login' &&
        countsForLockout(refusal.status, refusal.words),
      place: isElsewhere === true ? undefined : method.credential.place,
      // The login itself was granted a token, with which the secret was asked for.
      ...(refusal?.step === 'dedicated token' &&
        refusal.status === 403 &&
        isTokenDenied(refusal.words) && { leavesToken: true }),
    });
    log.warn?.('login refused', { method: method.name, why: failure.error.message });
    return failure;
  };

  /** The last token that Vault has taken for anything. */
  let taken: string | undefined;
  /** Whether Vault granted it just now, and does not take it from here. */
  const isUnusable = (token: string, found: Standing): boolean => {
    const held = inUse.last();
    if (found.kind !== 'not taken' || held?.login.token !== token || taken === token) return false;
    return held.login.own && clock.now() - held.since < FRESH_MS;
  };
  let unusable: { readonly token: string; readonly failure: Failure } | undefined;
  /**
   * Vault does not take such a token for giving it back either: so the next login waits. Requests that were
   * under way together are one refusal.
   */
  const refuseUnusable = (token: string, { error }: Failure): Failure => {
    if (unusable?.token === token) return unusable.failure;
    const failure = refusals.refused({
      identity,
      credentials: lastCredentials ?? '',
      message: error.message,
      counts: false,
      place: undefined,
      leavesToken: true,
    });
    unusable = { token, failure };
    return failure;
  };

  const shareLogin = (): Promise<Result<string>> => {
    if (lifetime.signal.aborted)
      return Promise.resolve(fail('unavailable', 'the session has ended'));
    // A limit of its own, since a login serves more callers than the one that began it.
    pending ??= withLimit(clock, LOGIN_LIMIT_MS, lifetime.signal, (signal) =>
      unlessAborted(logIn(signal), signal, () => fail('unavailable', TOO_LONG)),
    ).finally(() => {
      pending = undefined;
    });
    return pending;
  };

  const inUse: TokenInUse = createTokenInUse({
    method: method.name,
    send,
    clock,
    log,
    logIn: shareLogin,
  });

  const denials = createDeniedRequests({ method, send, clock, inUse });

  const use = (login: Login): void => {
    const before = inUse.last();
    const ttlMs = inUse.mayLiveMs();
    // Requests that are under way with the one before still need it for a moment.
    if (before !== undefined && before.login.token !== login.token && ttlMs > 0)
      giveBack({ ...before.login, ttlMs }, RETIRE_AFTER_MS);
    inUse.hold(login);
    if (login.proven) sayLoggedIn(login);
    else if (before?.login.token !== login.token)
      log.info?.('token read, which may not look itself up', { method: method.name });
  };

  let saidUses = false;
  const sayLoggedIn = ({ ttlMs, renewable, uses }: Login): void => {
    const ttlSeconds = Number.isFinite(ttlMs) ? Math.round(ttlMs / 1000) : undefined;
    log.info?.('logged in', { method: method.name, ttlSeconds, renewable });
    if (uses === undefined || saidUses) return;
    saidUses = true;
    const why = `the role limits its tokens to ${uses} uses, which a daemon uses up, and each time logs in again: remove token_num_uses from the role`;
    log.warn?.('tokens have few uses', { method: method.name, why });
  };

  /** Whether there are other credentials than those of the last login, so that trying makes sense. */
  const credentialsChanged = async (): Promise<boolean> => {
    const changed = method
      .credentials()
      .then((read) => read.ok && fingerprintOf(read.value) !== lastCredentials);
    return await within(clock, READ_LIMIT_MS, changed, () => false);
  };

  const end = async (): Promise<void> => {
    lifetime.abort();
    const last = inUse.stop();
    const ttlMs = inUse.mayLiveMs();
    if (last !== undefined && ttlMs > 0) giveBack({ ...last.login, ttlMs });
    await pending;
    if (late.size > 0) {
      const arrived = Promise.all(late).then(() => undefined);
      await within(clock, LATE_AT_STOP_MS, arrived, () =>
        log.warn?.('a login has no answer yet: the token that it may bring lives until its end'),
      );
    }
    await revocations.stop();
  };

  return {
    async token(signal) {
      const held = inUse.current();
      if (held !== undefined) return succeed(held.login.token);
      return await unlessAborted(shareLogin(), signal, () => fail('unavailable', TOO_LONG));
    },
    async replace(rejected, denied, signal) {
      const before = inUse.current();
      if (before !== undefined && before.login.token !== rejected)
        return succeed(before.login.token);
      const known = pending === undefined ? denials.known(denied) : undefined;
      if (known !== undefined && !(await credentialsChanged())) return known;
      const found = await unlessAborted<Standing>(
        denials.standing(denied, rejected),
        signal,
        () => ({
          kind: 'not taken',
        }),
      );
      if (found.kind === 'allowed') return succeed(rejected);
      // Another caller may have been quicker.
      const held = inUse.current();
      if (held !== undefined && held.login.token !== rejected) return succeed(held.login.token);
      // Where Vault only seems to mean the policy, a login is tried as well.
      const isGood = found.kind === 'not allowed' && found.granted !== undefined;
      const isFresh = held !== undefined && clock.now() - held.since < FRESH_MS;
      // A login brings the policies that its role has by now; seconds ago it brought them already.
      if (isGood && isFresh && !(await credentialsChanged()))
        return denials.conclude(rejected, denied, found);
      const again = await unlessAborted(shareLogin(), signal, () => fail('unavailable', TOO_LONG));
      if (!again.ok) return isGood ? denials.conclude(rejected, denied, found) : again;
      return again.value === rejected ? denials.conclude(rejected, denied, found) : again;
    },
    async denied(token, denied) {
      const found = await denials.standing(denied, token);
      return denials.conclude(token, denied, found, (diagnosis) =>
        isUnusable(token, found) ? refuseUnusable(token, diagnosis) : diagnosis,
      );
    },
    accepted(token, path) {
      denials.accepted(path);
      if (taken !== token) refusals.tokenTaken(identity);
      taken = token;
      const held = inUse.last();
      if (held === undefined || held.login.proven || held.login.token !== token) return;
      inUse.proven();
      sayLoggedIn(held.login);
    },
    stop() {
      stopped ??= end();
      return stopped;
    },
    underWay: () =>
      late.size === 0 ? revocations.left() : Promise.all(late).then(() => revocations.left()),
  };
}

function adviceOf(
  { name, credential }: AuthMethod,
  refusal: NonNullable<LoginFailure['refusal']>,
): string {
  return adviceFor({ ...refusal, capability: 'read', method: name, credential, token: undefined });
}
