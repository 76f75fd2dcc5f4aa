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
    identity: `cert ${mount} ${role ?? ''} ${certFile}`,
    locksOut: false,
    credential: { what: 'the certificate', place: certFile },
    credentials: () =>
      readCredentials(
        { cert: { place: certFile, form: 'text' }, key: { place: keyFile, form: 'text' } },
        readSecret,
      ),
    login: (_credentials, asking) =>
      postLogin(`${mount}/login`, role === undefined ? {} : { name: role }, asking),
  };
}
