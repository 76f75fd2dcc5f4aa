/**
 * Logging in by POST auth/<mount>/login..., which all methods but the token share.
 * https://developer.hashicorp.com/vault/api-docs/auth
 */
import { fail, type Result, succeed } from '../../errors.ts';
import type { VaultReply } from '../reply.ts';
import type { Credentials, Login, ReadSecret, Send } from './login.ts';

/**
 * Passwords are hashed slowly, and others are asked about tokens: a login takes longer than a
 * request, and one that is given up too soon leaves a token behind. Two servers fit into the limit
 * that the session sets.
 */
const FAILOVER_MS = 5_000;

/** Reads the named files; the failure says which one cannot be read. */
export async function readCredentials(
  places: Readonly<Record<string, string | undefined>>,
  readSecret: ReadSecret,
): Promise<Result<Credentials>> {
  const credentials: Record<string, string> = {};
  for (const [name, place] of Object.entries(places)) {
    if (place === undefined) continue;
    try {
      credentials[name] = await readSecret(place);
    } catch (error) {
      return fail(
        'denied',
        `logging in to Vault: ${error instanceof Error ? error.message : 'a secret cannot be read'}`,
      );
    }
    if (credentials[name] === '') return fail('denied', `logging in to Vault: ${place} is empty`);
  }
  return succeed(credentials);
}

/** Logs in at `auth/<path>` and answers the token that Vault made. */
export async function postLogin(
  path: string,
  body: object,
  send: Send,
  signal: AbortSignal,
): Promise<Result<Login>> {
  const request = {
    method: 'POST',
    path: `auth/${path}`,
    body,
    what: 'logging in to Vault',
    holds: 'auth',
    failoverMs: FAILOVER_MS,
  } as const;
  const replied = await send(request, signal);
  if (!replied.ok) return replied;
  const { failure } = replied.value;
  if (failure !== undefined) {
    // Whatever is wrong with the credentials: sending the same ones again cannot help.
    const { kind, message } = failure.error;
    return kind === 'invalid' || kind === 'unauthenticated' ? fail('denied', message) : failure;
  }
  return loginOf(replied.value);
}

/** The `auth` part of an answer of login or renew-self. */
export function loginOf(reply: VaultReply): Result<Login> {
  const { auth } = reply.body;
  if (typeof auth === 'object' && auth !== null) {
    const { client_token, lease_duration, renewable } = auth as Record<string, unknown>;
    if (
      typeof client_token === 'string' &&
      client_token !== '' &&
      typeof lease_duration === 'number'
    ) {
      return succeed({
        token: client_token,
        ttlMs: lease_duration === 0 ? Number.POSITIVE_INFINITY : lease_duration * 1000,
        renewable: renewable === true,
        own: true,
      });
    }
  }
  return fail('internal', 'logging in to Vault: the answer holds no token');
}
