/** The method that the configuration names. */
import type { AuthConfig } from '../../../config/schema.ts';
import { appRole } from './app-role.ts';
import { cert } from './cert.ts';
import { dedicatedToken } from './dedicated-token.ts';
import { jwt } from './jwt.ts';
import type { AuthMethod, ReadSecret } from './login.ts';
import { token } from './token.ts';
import type { UnwrappedSecretIDs } from './unwrapped.ts';
import { userpass } from './userpass.ts';

/** Exactly one method is configured, which the configuration's checks have made sure of. */
export function authMethod(
  config: AuthConfig,
  readSecret: ReadSecret,
  unwrapped: UnwrappedSecretIDs,
): AuthMethod {
  const first = firstMethod(config, readSecret, unwrapped);
  return config.dedicatedToken === undefined ? first : dedicatedToken(config.dedicatedToken, first);
}

function firstMethod(
  config: AuthConfig,
  readSecret: ReadSecret,
  unwrapped: UnwrappedSecretIDs,
): AuthMethod {
  if (config.appRole !== undefined) return appRole(config.appRole, readSecret, unwrapped);
  if (config.kubernetes !== undefined) return jwt('kubernetes', config.kubernetes, readSecret);
  if (config.jwt !== undefined) return jwt('jwt', config.jwt, readSecret);
  if (config.cert !== undefined) return cert(config.cert, readSecret);
  if (config.userpass !== undefined) return userpass(config.userpass, readSecret);
  if (config.token !== undefined) return token(config.token, readSecret);
  throw new Error('the configuration was not checked: it names no way to log in');
}
