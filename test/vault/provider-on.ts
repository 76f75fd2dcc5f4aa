/** The daemon's Vault provider in the process of the test: its secrets are the test's, its Vault is real. */
import type { AuthConfig } from '../../src/config/schema.ts';
import { silentLog } from '../../src/observe/log.ts';
import type { Provider } from '../../src/providers/provider.ts';
import { createLoginMemory } from '../../src/providers/vault/auth/login-memory.ts';
import { createVaultProvider } from '../../src/providers/vault/vault-provider.ts';
import { systemClock } from '../../src/system/clock.ts';
import { KEY } from './vault-under-test.ts';

/** Contacts nobody before the first call. */
export function providerOn(
  addresses: readonly string[],
  auth: AuthConfig,
  secret: () => string,
  key = KEY,
): Provider {
  const options = {
    addresses,
    mount: 'transit',
    key,
    tls: {},
    allowPlainHTTP: false,
    requestTimeout: 1_000,
    hedge: false,
    auth,
  };
  return createVaultProvider('vault', options, {
    log: silentLog,
    env: {},
    clock: systemClock,
    readSecret: async () => secret(),
    logins: createLoginMemory(systemClock),
  });
}
