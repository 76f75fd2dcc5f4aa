/**
 * The dedicated token of the first Trousseau: whoever logs in may only read a KV secret, and the
 * token found there is the one that may use the key.
 * https://developer.hashicorp.com/vault/api-docs/secret/kv
 */
import type { AuthConfig } from '../../../config/schema.ts';
import { fail, type Result, succeed } from '../../errors.ts';
import { refusedLogin, wordOrText } from './credentials-login.ts';
import type { Asking, AuthMethod, Login, LoginFailure } from './login.ts';
import { createLookUp } from './token.ts';

type DedicatedTokenConfig = NonNullable<AuthConfig['dedicatedToken']>;

/** Logs in by another method, then takes the token that the secret holds. */
export function dedicatedToken(config: DedicatedTokenConfig, first: AuthMethod): AuthMethod {
  const { mount, path, field, kvVersion } = config;
  const place = kvVersion === 2 ? `${mount}/data/${path}` : `${mount}/${path}`;
  const lookUp = createLookUp();
  return {
    name: `${first.name} and dedicatedToken`,
    identity: first.identity,
    locksOut: first.locksOut,
    credential: first.credential,
    tokenPlace: `field ${field} of ${place}`,
    credentials: first.credentials,
    async login(credentials, asking) {
      // What logs in may read the secret and no more: a late one has no use.
      const late = (login: Promise<Result<Login>>): void =>
        asking.late(
          login.then((arrived) => {
            if (arrived.ok) asking.giveBack(arrived.value);
            return fail('unavailable', 'the login came too late for the dedicated token');
          }),
        );
      const login = await first.login(credentials, { ...asking, late });
      if (!login.ok) return login;
      const found = await readField(place, config, login.value.token, asking);
      // What was logged in for is done; without this each login would leave a token behind.
      if (login.value.own) asking.giveBack(login.value);
      return found.ok ? await lookUp(found.value, asking) : found;
    },
  };
}

type Found = { readonly ok: true; readonly value: string } | LoginFailure;

async function readField(
  place: string,
  { field, kvVersion }: DedicatedTokenConfig,
  token: string,
  { send, signal }: Asking,
): Promise<Found> {
  const what = `reading the dedicated token from ${place}`;
  const request = { method: 'GET', path: place, token, what, holds: 'data' } as const;
  const replied = await send(request, signal);
  if (!replied.ok) return replied;
  if (replied.value.kind === 'refusal')
    return refusedLogin('dedicated token', place, replied.value);
  const data = replied.value.body['data'];
  const secret = kvVersion === 2 ? fieldOf(data, 'data') : data;
  const value = fieldOf(secret, field);
  if (typeof value !== 'string')
    return fail('denied', `${what}: there is no text in field ${field}; is kvVersion right?`);
  const word = wordOrText(value, 'word');
  return word === undefined || word === ''
    ? fail('denied', `${what}: field ${field} holds no token`)
    : succeed(word);
}

function fieldOf(object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null
    ? (object as Record<string, unknown>)[name]
    : undefined;
}
