/** Userpass. https://developer.hashicorp.com/vault/api-docs/auth/userpass */
import type { AuthConfig } from '../../../config/schema.ts';
import { postLogin, readCredentials } from './credentials-login.ts';
import type { AuthMethod, ReadSecret } from './login.ts';

/** Logs in with a name and a password out of a file. */
export function userpass(
  { mount, username, passwordFile }: NonNullable<AuthConfig['userpass']>,
  readSecret: ReadSecret,
): AuthMethod {
  return {
    name: 'userpass',
    identity: `userpass ${mount} ${username}`,
    locksOut: true,
    credential: { what: 'the password', place: passwordFile },
    credentials: () =>
      readCredentials({ password: { place: passwordFile, form: 'text' } }, readSecret),
    login: (credentials, asking) =>
      postLogin(
        `${mount}/login/${encodeURIComponent(username)}`,
        { password: credentials['password'] },
        asking,
      ),
  };
}
