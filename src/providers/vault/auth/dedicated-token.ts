/**
 * The dedicated token of the first Trousseau: whoever logs in may only read a KV secret, and the
 * token found there is the one that may use the key.
 * https://developer.hashicorp.com/vault/api-docs/secret/kv
 */
import type { AuthConfig } from '../../../config/schema.ts';
import { fail, type Result, succeed } from '../../errors.ts';
import { type AuthMethod, revocationOf, type Send } from './login.ts';
import { lookUp } from './token.ts';

type DedicatedTokenConfig = NonNullable<AuthConfig['dedicatedToken']>;

/** Logs in by another method, then takes the token that the secret holds. */
export function dedicatedToken(config: DedicatedTokenConfig, first: AuthMethod): AuthMethod {
  const { mount, path, field, kvVersion } = config;
  const place = kvVersion === 2 ? `${mount}/data/${path}` : `${mount}/${path}`;
  return {
    name: `${first.name} and dedicatedToken`,
    advice: `the token in field ${field} of ${place} was revoked, has expired, or lacks the policy: write a new token there; or: ${first.advice}`,
    locksOut: first.locksOut,
    credentials: first.credentials,
    async login(credentials, send, signal) {
      const login = await first.login(credentials, send, signal);
      if (!login.ok) return login;
      const found = await readField(place, config, login.value.token, send, signal);
      // What was logged in for is done; without this each login would leave a token behind.
      if (login.value.own) await send(revocationOf(login.value.token), signal);
      return found.ok ? await lookUp(found.value, send, signal) : found;
    },
  };
}

async function readField(
  place: string,
  { field, kvVersion }: DedicatedTokenConfig,
  token: string,
  send: Send,
  signal: AbortSignal,
): Promise<Result<string>> {
  const what = `reading the dedicated token from ${place}`;
  const request = { method: 'GET', path: place, token, what, holds: 'data' } as const;
  const replied = await send(request, signal);
  if (!replied.ok) return replied;
  const { failure } = replied.value;
  if (failure !== undefined) {
    const { kind, message } = failure.error;
    return kind === 'unauthenticated' ? fail('denied', `${message}; grant read on it`) : failure;
  }
  const data = replied.value.body['data'];
  const secret = kvVersion === 2 ? fieldOf(data, 'data') : data;
  const value = fieldOf(secret, field);
  return typeof value === 'string' && value !== ''
    ? succeed(value)
    : fail('denied', `${what}: there is no text in field ${field}; is kvVersion right?`);
}

function fieldOf(object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null
    ? (object as Record<string, unknown>)[name]
    : undefined;
}
