/**
 * Logging in by POST auth/<mount>/login..., which all methods but the token share.
 * https://developer.hashicorp.com/vault/api-docs/auth
 */
import { mayPass } from '../../../system/files.ts';
import { fail, type Result, succeed } from '../../errors.ts';
import type { VaultReply, VaultRequest } from '../reply.ts';
import type { Step } from './advice.ts';
import type {
  Asking,
  Credentials,
  Login,
  LoginFailure,
  LoginOutcome,
  ReadSecret,
} from './login.ts';

/**
 * A login may take longer than a request: passwords are hashed slowly, and others are asked about tokens.
 * Then the next server is asked within the 3 s of a call; what the first one answers later is used or given back.
 */
const FAILOVER_MS = 2_000;
/** Longer than this Vault itself works on no request (max_request_duration is 90 s unless set). */
export const LATE_LIMIT_MS = 90_000;

/** What stands in a credential's file. */
export type Form =
  /** Printable characters without blanks: tokens, ids, JWTs. What stands around them is no part of them. */
  | 'word'
  /** Any text but one line feed at its end: passwords, certificates. */
  | 'text';

export type Places = Readonly<Record<string, { readonly place: string; readonly form: Form }>>;

/** Reads the named files; the failure says which one cannot be read, or holds no such thing. */
export async function readCredentials(
  places: Places,
  readSecret: ReadSecret,
): Promise<Result<Credentials>> {
  const credentials: Record<string, string> = {};
  for (const [name, { place, form }] of Object.entries(places)) {
    try {
      const read = wordOrText(await readSecret(place), form);
      if (read === undefined)
        return fail(
          'denied',
          `${LOGGING_IN}: ${place} holds more than one word, JSON (as a sink of Vault Agent with wrap_ttl does), or what is no text`,
        );
      credentials[name] = read;
    } catch (error) {
      const why = error instanceof Error ? error.message : 'a secret cannot be read';
      return fail(mayPass(error) ? 'unavailable' : 'denied', `${LOGGING_IN}: ${why}`);
    }
    if (credentials[name] === '') return fail('denied', `${LOGGING_IN}: ${place} is empty`);
  }
  return succeed(credentials);
}

export const LOGGING_IN = 'logging in to Vault';

/**
 * Editors and shells leave line feeds and a byte order mark around a token, and neither may be in the
 * header that carries it. Undefined where something else is wrong with the text.
 */
export function wordOrText(text: string, form: Form): string | undefined {
  if (form === 'text') return text;
  const word = text.replace(/^\ufeff/, '').trim();
  return /^(?!\{)[\x21-\x7e]*$/.test(word) ? word : undefined;
}

/** Logs in at `auth/<path>` and answers the token that Vault made. */
export async function postLogin(
  path: string,
  body: object,
  { send, signal, late }: Asking,
): Promise<LoginOutcome> {
  const request: VaultRequest = {
    method: 'POST',
    path: `auth/${path}`,
    body,
    what: LOGGING_IN,
    holds: 'auth',
    uncached: true,
    failoverMs: FAILOVER_MS,
    leaves: {
      limitMs: LATE_LIMIT_MS,
      givenUp: (outcome) => late(outcome.then((replied) => loginIn(replied))),
    },
  };
  const replied = await send(request, signal);
  if (replied.ok && replied.value.kind === 'refusal')
    return refusedLogin('login', request.path, replied.value);
  return loginIn(replied);
}

/** A refusal of Vault in a login; one that may pass by itself has no facts for an advice. */
export function refusedLogin(
  step: Step,
  path: string,
  reply: Extract<VaultReply, { kind: 'refusal' }>,
): LoginFailure {
  const { failure, told, status, words } = reply;
  switch (failure.error.kind) {
    case 'unauthenticated':
    case 'denied':
    case 'invalid':
      // Whatever is wrong with the credentials: sending the same ones again cannot help.
      // The advice follows from the step: what the status means otherwise is about tokens and ciphertexts.
      return { ...fail('denied', told), refusal: { step, path, status, words } };
    default:
      return failure;
  }
}

function loginIn(replied: Result<VaultReply>): Result<Login> {
  if (!replied.ok) return replied;
  return replied.value.failure ?? loginOf(replied.value);
}

/** The `auth` part of an answer of a login. */
export function loginOf(reply: VaultReply): Result<Login> {
  const { auth } = reply.body;
  if (typeof auth === 'object' && auth !== null) {
    const { client_token, lease_duration, renewable, num_uses, mfa_requirement } = auth as Record<
      string,
      unknown
    >;
    // https://developer.hashicorp.com/vault/docs/auth/login-mfa: 200, and no token in it
    if (client_token === '' && typeof mfa_requirement === 'object' && mfa_requirement !== null)
      return fail('denied', `${LOGGING_IN}: ${SECOND_FACTOR}`);
    if (
      typeof client_token === 'string' &&
      client_token !== '' &&
      typeof lease_duration === 'number'
    ) {
      return succeed({
        token: client_token,
        ttlMs: lifeOf(lease_duration),
        renewable: renewable === true,
        own: true,
        proven: true,
        ...(typeof num_uses === 'number' && num_uses > 0 ? { uses: num_uses } : {}),
      });
    }
  }
  return fail('internal', `${LOGGING_IN}: the answer holds no token`);
}

/** How long a token lives after a renewal, in milliseconds. Vault Agent leaves the token itself out where it is its own. */
export function renewedLifeOf(reply: VaultReply): Result<number> {
  const { auth } = reply.body;
  const life =
    typeof auth === 'object' && auth !== null
      ? (auth as Record<string, unknown>)['lease_duration']
      : undefined;
  return typeof life === 'number'
    ? succeed(lifeOf(life))
    : fail('internal', 'renewing the token: the answer holds no lease_duration');
}

/** Vault says 0 of a token that never expires. */
function lifeOf(seconds: number): number {
  return seconds === 0 ? Number.POSITIVE_INFINITY : seconds * 1000;
}

const SECOND_FACTOR =
  'Vault asks for a second factor, which a daemon does not have: take this method or its role out of the login enforcement (identity/mfa/login-enforcement)';
