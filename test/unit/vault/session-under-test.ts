/** A session whose Vault is a function of the test's own: no sockets, no time but the driven clock. */
import type { AuthConfig } from '../../../src/config/schema.ts';
import { createLog } from '../../../src/observe/log.ts';
import { fail, type ProviderErrorKind, succeed } from '../../../src/providers/errors.ts';
import type { Send } from '../../../src/providers/vault/auth/login.ts';
import { createLoginMemory } from '../../../src/providers/vault/auth/login-memory.ts';
import { authMethod } from '../../../src/providers/vault/auth/method.ts';
import type { Denied } from '../../../src/providers/vault/diagnosis.ts';
import { createSession, type Session } from '../../../src/providers/vault/session.ts';
import { createDrivenClock, type DrivenClock } from '../driven-clock.ts';
import { replyOf } from './reply-of.ts';

type Request = Parameters<Send>[0];
type Reply = Awaited<ReturnType<Send>>;

export type SessionUnderTest = {
  readonly session: Session;
  readonly clock: DrivenClock;
  readonly requests: Request[];
  /** What the secret id's file holds; reading it may hang. */
  readonly secret: { id: string; hangs: boolean };
  /** What a login grants from now on. */
  readonly grant: { ttl: number; renewable: boolean };
  /** Answers instead of the ordinary, by path; undefined leaves it to that. */
  readonly answers: Map<string, (request: Request) => Reply | Promise<Reply> | undefined>;
  count(path: string): number;
  readonly logged: string[];
};

export const LOGIN = 'auth/approle/login';
export const RENEW = 'auth/token/renew-self';
export const REVOKE = 'auth/token/revoke-self';

export const refused = (status: number, error = 'permission denied'): Reply =>
  replyOf({ what: 'asking Vault', holds: 'data' }, status, { errors: [error] });

export const broken = (kind: ProviderErrorKind = 'unavailable'): Reply =>
  fail(kind, 'Vault cannot be reached');

/** An answer of login or renew-self. */
export const granted = (token: string, ttl: number, renewable = true): Reply => {
  const auth = { client_token: token, lease_duration: ttl, renewable };
  return replyOf({ what: 'logging in to Vault', holds: 'auth' }, 200, { auth });
};

/** Tokens are named by the count of logins: `token-1` is the first. */
export function createSessionUnderTest(
  random = 0,
  clock = createDrivenClock(1_800_000_000_000, random),
  memory = createLoginMemory(clock),
  more: Pick<AuthConfig, 'dedicatedToken'> = {},
): SessionUnderTest {
  const requests: Request[] = [];
  const secret = { id: 'first', hangs: false };
  const grant = { ttl: 90, renewable: true };
  const answers: SessionUnderTest['answers'] = new Map();
  const logged: string[] = [];
  const count = (path: string): number => requests.filter((seen) => seen.path === path).length;

  const ordinary = (request: Request): Reply => {
    if (request.path === LOGIN) return granted(`token-${count(LOGIN)}`, grant.ttl, grant.renewable);
    if (request.path === RENEW) return granted(request.token ?? '', grant.ttl, grant.renewable);
    return replyOf({ what: 'revoking the token', holds: 'nothing' }, 204, undefined);
  };
  const send: Send = (request, signal) => {
    requests.push(request);
    const { promise, resolve } = Promise.withResolvers<Reply>();
    const gone = (): void => resolve(fail('unavailable', 'aborted'));
    signal.addEventListener('abort', gone, { once: true });
    if (signal.aborted) gone();
    const answer = answers.get(request.path)?.(request) ?? ordinary(request);
    void Promise.resolve(answer).then(resolve);
    return promise;
  };
  const write = (line: string): void => void logged.push(line);
  const log = createLog({ level: 'debug', format: 'json', write });
  const approle = { mount: 'approle', roleID: 'role', secretIDWrapped: false };
  const session = createSession({
    method: authMethod(
      { appRole: { ...approle, secretIDFile: '/id' }, ...more },
      () => (secret.hangs ? new Promise(() => undefined) : Promise.resolve(secret.id)),
      memory.unwrapped,
    ),
    vault: 'the Vault of the test',
    memory,
    send,
    refresh: async () => succeed(undefined),
    clock,
    log,
  });
  return { session, clock, requests, secret, grant, answers, count, logged };
}

/** A signal that nobody aborts. */
export const patient = (): AbortSignal => new AbortController().signal;

/** A 403 to a request of that path, as Vault 1.9 words it: it may be the token or its policy. */
export const deniedAt = (path: string, words = 'permission denied'): Denied => {
  const request = { method: 'POST', path, what: 'encrypting', holds: 'data' } as const;
  const reply = replyOf(request, 403, { errors: [words] });
  if (!reply.ok || reply.value.kind !== 'refusal') throw new Error('it is a refusal');
  return { request, refusal: reply.value };
};
