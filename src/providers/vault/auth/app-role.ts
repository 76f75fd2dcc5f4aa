/** AppRole. https://developer.hashicorp.com/vault/api-docs/auth/approle */
import type { AuthConfig } from '../../../config/schema.ts';
import { fail, type Result, succeed } from '../../errors.ts';
import { postLogin, readCredentials } from './credentials-login.ts';
import type { AuthMethod, ReadSecret, Send } from './login.ts';

type AppRoleConfig = NonNullable<AuthConfig['appRole']>;

/** Logs in with a role id and, where the role wants one, a secret id, also response-wrapped. */
export function appRole(config: AppRoleConfig, readSecret: ReadSecret): AuthMethod {
  const { mount, roleID, roleIDFile, secretIDFile, secretIDWrapped } = config;
  /** A wrapping token works once, so what was in it is kept for the next login. */
  let unwrapped: { readonly wrapping: string; readonly secretID: string } | undefined;

  const secretIDOf = async (
    wrapping: string,
    send: Send,
    signal: AbortSignal,
  ): Promise<Result<string>> => {
    if (unwrapped?.wrapping === wrapping) return succeed(unwrapped.secretID);
    const opened = await unwrap(wrapping, secretIDFile ?? '', send, signal);
    if (opened.ok) unwrapped = { wrapping, secretID: opened.value };
    return opened;
  };

  return {
    name: 'appRole',
    locksOut: true,
    advice: `the role or the secret id is not valid any more: write ${secretIDWrapped ? 'the wrapping token of a new secret id' : 'a new secret id'} to ${secretIDFile ?? 'secretIDFile'}`,
    credentials: () => readCredentials({ roleID: roleIDFile, secretID: secretIDFile }, readSecret),
    async login(credentials, send, signal) {
      let { secretID } = credentials;
      if (secretIDWrapped && secretID !== undefined) {
        const opened = await secretIDOf(secretID, send, signal);
        if (!opened.ok) return opened;
        secretID = opened.value;
      }
      const body = {
        role_id: credentials['roleID'] ?? roleID,
        ...(secretID === undefined ? {} : { secret_id: secretID }),
      };
      return await postLogin(`${mount}/login`, body, send, signal);
    },
  };
}

/** https://developer.hashicorp.com/vault/api-docs/system/wrapping-unwrap */
async function unwrap(
  token: string,
  file: string,
  send: Send,
  signal: AbortSignal,
): Promise<Result<string>> {
  const request = {
    method: 'POST',
    path: 'sys/wrapping/unwrap',
    token,
    what: 'unwrapping the secret id',
    holds: 'data',
    once: true,
  } as const;
  const replied = await send(request, signal);
  if (!replied.ok) return replied;
  const { failure } = replied.value;
  if (failure !== undefined) {
    if (failure.error.kind === 'unavailable' || failure.error.kind === 'throttled') return failure;
    return fail(
      'denied',
      `unwrapping the secret id: the wrapping token in ${file} has expired or was used before. It works once, so after a restart a new one has to be written to the file. If this plugin has not used it, somebody else has the secret id: revoke it and look for theft`,
    );
  }
  const { data } = replied.value.body;
  const secretID =
    typeof data === 'object' && data !== null
      ? (data as Record<string, unknown>)['secret_id']
      : undefined;
  return typeof secretID === 'string'
    ? succeed(secretID)
    : fail('denied', `unwrapping the secret id: what ${file} wraps is no secret id`);
}
