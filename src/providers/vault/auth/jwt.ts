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
    locksOut: false,
    advice: `Vault does not take the token in ${tokenFile} for role ${role}: check the role's bounds and whether the file is renewed`,
    credentials: () => readCredentials({ jwt: tokenFile }, readSecret),
    login: (credentials, send, signal) =>
      postLogin(`${mount}/login`, { role, jwt: credentials['jwt'] }, send, signal),
  };
}
