/**
 * JWT and Kubernetes: a role, and a token that somebody else has signed.
 * https://developer.hashicorp.com/vault/api-docs/auth/jwt
 * https://developer.hashicorp.com/vault/api-docs/auth/kubernetes
 */
import { postLogin, readCredentials } from './credentials-login.ts';
import type { AuthMethod, ReadSecret } from './login.ts';

type RoleAndToken = { readonly mount: string; readonly role: string; readonly tokenFile: string };

/** Logs in with a JWT out of a file, which its issuer may replace at any time. */
export function jwt(
  name: 'jwt' | 'kubernetes',
  { mount, role, tokenFile }: RoleAndToken,
  readSecret: ReadSecret,
): AuthMethod {
  return {
    name,
    identity: `${name} ${mount} ${role}`,
    locksOut: false,
    credential: { what: 'the token', place: tokenFile },
    credentials: () => readCredentials({ jwt: { place: tokenFile, form: 'word' } }, readSecret),
    login: (credentials, asking) =>
      postLogin(`${mount}/login`, { role, jwt: credentials['jwt'] }, asking),
  };
}
