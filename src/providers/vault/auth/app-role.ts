/** AppRole. https://developer.hashicorp.com/vault/api-docs/auth/approle */
import type { AuthConfig } from '../../../config/schema.ts';
import { fail, type Result, succeed } from '../../errors.ts';
import { LOGGING_IN, type Places, postLogin, readCredentials } from './credentials-login.ts';
import type { AuthMethod, Credentials, ReadSecret } from './login.ts';
import type { UnwrappedSecretIDs } from './unwrapped.ts';

type AppRoleConfig = NonNullable<AuthConfig['appRole']>;

/** Logs in with a role id and, where the role wants one, a secret id, also response-wrapped. */
export function appRole(
  config: AppRoleConfig,
  readSecret: ReadSecret,
  unwrapped: UnwrappedSecretIDs,
): AuthMethod {
  const { mount, roleID, roleIDFile, secretIDFile, secretIDWrapped } = config;
  const role = roleID ?? roleIDFile ?? '';
  const identity = `appRole ${mount} ${role}`;
  const place = secretIDFile ?? 'secretIDFile';
  const places: Places = {
    ...(roleIDFile === undefined ? {} : { roleID: { place: roleIDFile, form: 'word' } }),
    ...(secretIDFile === undefined ? {} : { secretID: { place: secretIDFile, form: 'word' } }),
  };

  const fitting = async (reading: Promise<Result<Credentials>>): Promise<Result<Credentials>> => {
    const read = await reading;
    const why = read.ok ? mistakeIn(read.value['secretID'] ?? '', secretIDWrapped) : undefined;
    return why === undefined ? read : fail('denied', `${LOGGING_IN}: ${place} ${why}`);
  };

  const login: AuthMethod['login'] = async (credentials, asking) => {
    let { secretID } = credentials;
    if (secretIDWrapped && secretID !== undefined && credentials['wrapping'] !== 'opened') {
      const opened = await unwrapped.open(identity, place, secretID, asking);
      if (!opened.ok) return opened;
      secretID = opened.value;
    }
    const body = {
      role_id: credentials['roleID'] ?? roleID,
      ...(secretID === undefined ? {} : { secret_id: secretID }),
    };
    return await postLogin(`${mount}/login`, body, asking);
  };

  return {
    name: 'appRole',
    identity,
    locksOut: true,
    credential: {
      what: secretIDWrapped ? 'the wrapping token of a new secret id' : 'the secret id',
      place,
    },
    async credentials(): Promise<Result<Credentials>> {
      const read = await fitting(readCredentials(places, readSecret));
      if (read.ok || !secretIDWrapped) return read;
      // The file of a wrapping token is often removed once it was used.
      const secretID = unwrapped.last(identity);
      if (secretID === undefined) return read;
      const others = await readCredentials(without(places, 'secretID'), readSecret);
      return others.ok ? succeed({ ...others.value, secretID, wrapping: 'opened' }) : others;
    },
    login,
  };
}

/** What Vault could only answer as if it were wrong or used up, and would count as a wrong login. */
function mistakeIn(secretID: string, wrapped: boolean): string | undefined {
  if (!wrapped && /^(?:hvs|s)\.[\w.-]{20,}$/.test(secretID))
    return 'holds a token of Vault, not a secret id: where it is a wrapping token, set secretIDWrapped: true';
  if (wrapped && /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(secretID))
    return 'holds a secret id itself, not a wrapping token: leave secretIDWrapped out, or write the wrapping token there';
  return undefined;
}

function without(places: Places, name: string): Places {
  return Object.fromEntries(Object.entries(places).filter(([key]) => key !== name));
}
