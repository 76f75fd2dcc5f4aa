/**
 * The dedicated token of the first Trousseau: whoever logs in may only read a KV secret, and the
 * token found there is the one that may use the key.
 * https://developer.hashicorp.com/vault/api-docs/secret/kv
 */
import type { AuthConfig } from '../../../config/schema.ts';
import { sleep } from '../../../system/clock.ts';
import { fail, type Result, succeed } from '../../errors.ts';
import { refusedLogin, wordOrText } from './credentials-login.ts';
import type { Asking, AuthMethod, Login, LoginFailure } from './login.ts';
import { createLookUp } from './token.ts';

type DedicatedTokenConfig = NonNullable<AuthConfig['dedicatedToken']>;

/** A standby learns of a token within milliseconds, one in another region within seconds. */
const AGAIN_FIRST_MS = 50;
const AGAIN_MOST_MS = 500;
const AGAIN_LIMIT_MS = 2_000;

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
      const found = await readAgain(place, config, login.value.token, asking);
      // What was logged in for is done; without this each login would leave a token behind.
      if (login.value.own) asking.giveBack(login.value);
      const outcome = found.ok ? await lookUp(found.value, asking) : found;
      return outcome.ok ? outcome : { ...outcome, isElsewhere: true };
    },
  };
}

type Found = { readonly ok: true; readonly value: string } | LoginFailure;

/**
 * Reads with the same token until a server has an answer: a performance standby answers 412 where it does
 * not know a token yet, and another login would only bring one that it knows even later.
 */
async function readAgain(
  place: string,
  config: DedicatedTokenConfig,
  token: string,
  asking: Asking,
): Promise<Found> {
  const { clock, signal } = asking;
  const end = clock.now() + AGAIN_LIMIT_MS;
  for (let waitMs = AGAIN_FIRST_MS; ; waitMs = Math.min(AGAIN_MOST_MS, waitMs * 2)) {
    const found = await readField(place, config, token, asking);
    if (found.ok || found.error.kind !== 'unavailable' || clock.now() + waitMs > end) return found;
    if (!(await sleep(clock, waitMs, signal))) return found;
  }
}

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
    return fail(
      'denied',
      `${what}: there is no text in field ${field}: was the secret deleted, or is field or kvVersion wrong?`,
    );
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
