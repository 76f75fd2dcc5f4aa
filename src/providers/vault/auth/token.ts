/**
 * A token that somebody else has made: out of a file, or out of a KV secret.
 * https://developer.hashicorp.com/vault/api-docs/auth/token#lookup-a-token-self
 */
import type { AuthConfig } from '../../../config/schema.ts';
import { fail, succeed } from '../../errors.ts';
import { readCredentials } from './credentials-login.ts';
import type { Asking, AuthMethod, Login, LoginOutcome, ReadSecret } from './login.ts';

/** Takes the token as it stands in the file now. */
export function token(
  { tokenFile }: NonNullable<AuthConfig['token']>,
  readSecret: ReadSecret,
): AuthMethod {
  return {
    name: 'token',
    identity: `token ${tokenFile}`,
    locksOut: false,
    credential: { what: 'the token', place: tokenFile },
    tokenPlace: tokenFile,
    credentials: () => readCredentials({ token: { place: tokenFile, form: 'word' } }, readSecret),
    login: (credentials, asking) => lookUp(credentials['token'] ?? '', asking),
  };
}

/**
 * The life of a token that we have not made. One that may not look itself up is taken as it is, and
 * is not proven: using it will show whether it is good.
 */
export async function lookUp(
  value: string,
  { send, signal }: Pick<Asking, 'send' | 'signal'>,
): Promise<LoginOutcome> {
  const unknown: Login = {
    token: value,
    ttlMs: Number.POSITIVE_INFINITY,
    renewable: false,
    own: false,
    proven: false,
  };
  const request = {
    method: 'GET',
    path: 'auth/token/lookup-self',
    token: value,
    what: 'looking up the token',
    holds: 'data',
  } as const;
  const replied = await send(request, signal);
  if (!replied.ok) return replied;
  const { failure } = replied.value;
  if (failure !== undefined) {
    return failure.error.kind === 'unauthenticated' ? succeed(unknown) : failure;
  }
  const { data } = replied.value.body;
  if (typeof data !== 'object' || data === null)
    return fail('internal', 'looking up the token: the answer holds no data');
  const { ttl, renewable, num_uses, expire_time } = data as Record<string, unknown>;
  if (typeof num_uses === 'number' && num_uses > 0) {
    return fail(
      'denied',
      `looking up the token: it is limited to ${num_uses} uses, which a daemon uses up: make one without num_uses`,
    );
  }
  // A token in its last second has a ttl of 0 too, but a time at which it expires.
  const expires = typeof ttl === 'number' && (ttl > 0 || typeof expire_time === 'string');
  return succeed({
    ...unknown,
    ttlMs: expires ? ttl * 1000 : Number.POSITIVE_INFINITY,
    renewable: renewable === true,
    proven: true,
  });
}
