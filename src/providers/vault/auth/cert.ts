/**
 * The TLS certificate of the connection itself is the credential.
 * https://developer.hashicorp.com/vault/api-docs/auth/cert
 */
import type { AuthConfig } from '../../../config/schema.ts';
import { postLogin, readCredentials } from './credentials-login.ts';
import type { AuthMethod, ReadSecret } from './login.ts';

/** Logs in with the client certificate that the connections were made with. */
export function cert(
  { mount, role, certFile, keyFile }: NonNullable<AuthConfig['cert']>,
  readSecret: ReadSecret,
): AuthMethod {
  return {
    name: 'cert',
    locksOut: false,
    advice: `Vault does not take the certificate in ${certFile}: check its validity and the role's bounds`,
    credentials: () => readCredentials({ cert: certFile, key: keyFile }, readSecret),
    login: (_credentials, send, signal) =>
      postLogin(`${mount}/login`, role === undefined ? {} : { name: role }, send, signal),
  };
}
