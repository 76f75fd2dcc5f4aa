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
  const lookUp = createLookUp();
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

type LookUp = (value: string, asking: Pick<Asking, 'send' | 'signal'>) => Promise<LoginOutcome>;

/**
 * Looks tokens up, but one whose uses are limited only once: each look-up is a use, and after the last
 * one Vault shows no limit, and then says that it does not know the token.
 */
export function createLookUp(): LookUp {
  let limited: { readonly value: string; readonly outcome: LoginOutcome } | undefined;
  return async (value, asking) => {
    if (limited?.value === value) return limited.outcome;
    const { outcome, isLimited } = await lookUp(value, asking);
    if (isLimited) limited = { value, outcome };
    return outcome;
  };
}

/**
 * The life of a token that we have not made. One that may not look itself up is taken as it is, and
 * is not proven: using it will show whether it is good.
 */
async function lookUp(
  value: string,
  { send, signal }: Parameters<LookUp>[1],
): Promise<{ readonly outcome: LoginOutcome; readonly isLimited?: true }> {
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
  if (!replied.ok) return { outcome: replied };
  const { failure } = replied.value;
  if (failure !== undefined) {
    return { outcome: failure.error.kind === 'unauthenticated' ? succeed(unknown) : failure };
  }
  const { data } = replied.value.body;
  if (typeof data !== 'object' || data === null)
    return { outcome: fail('internal', 'looking up the token: the answer holds no data') };
  const { ttl, renewable, num_uses, expire_time } = data as Record<string, unknown>;
  if (typeof num_uses === 'number' && num_uses > 0) {
    const why = `it is limited to ${num_uses} more uses, which a daemon uses up: make one without num_uses`;
    return { outcome: fail('denied', `looking up the token: ${why}`), isLimited: true };
  }
  // A token in its last second has a ttl of 0 too, but a time at which it expires.
  const expires = typeof ttl === 'number' && (ttl > 0 || typeof expire_time === 'string');
  const ttlMs = expires ? ttl * 1000 : Number.POSITIVE_INFINITY;
  const found: Login = { ...unknown, ttlMs, renewable: renewable === true, proven: true };
  return { outcome: succeed(found) };
}
