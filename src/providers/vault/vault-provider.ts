/** Vault's Transit engine as a provider: its parts put together. */
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { VaultConfig } from '../../config/schema.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../system/clock.ts';
import { fail, type Result, succeed } from '../errors.ts';
import type { Provider } from '../provider.ts';
import { createAddresses } from './addresses.ts';
import type { ReadSecret } from './auth/login.ts';
import { authMethod } from './auth/method.ts';
import { createVaultClient } from './client.ts';
import type { TlsMaterial } from './dispatcher.ts';
import { createVaultConnection } from './http.ts';
import { resolveTargets, systemLookup } from './resolve.ts';
import { createRetryBudget } from './retry-budget.ts';
import { createSession } from './session.ts';
import { createTransit, transitForm } from './transit.ts';

/** The settings of one Vault, its addresses filled in from the environment where they were not given. */
export type VaultOptions = Omit<VaultConfig, 'addresses'> & {
  readonly addresses: readonly string[];
};

export type VaultDependencies = {
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly readSecret: ReadSecret;
};

/** A provider that has not contacted Vault yet. */
export function createVaultProvider(
  name: string,
  options: VaultOptions,
  { log, env, clock, readSecret }: VaultDependencies,
): Provider {
  const budget = createRetryBudget(clock);
  const { addresses: urls, proxy } = options;
  const names = { urls, proxy, env, lookup: systemLookup, clock };
  const addresses = createAddresses({
    resolve: (held) => resolveTargets(names, held),
    readTls: () => readTls(options, readSecret),
    connect: (target, tls) =>
      createVaultConnection({ target, config: options, env, tls, clock, mayRetry: budget.take }),
    requestTimeoutMs: options.requestTimeout,
    hedge: options.hedge,
    budget,
    clock,
    log,
  });
  const session = createSession({
    method: authMethod(options.auth, readSecret),
    send: addresses.request,
    refresh: addresses.refresh,
    clock,
    log,
  });
  const transit = createTransit(createVaultClient(addresses, session), options);
  return {
    name,
    // The watcher's first look logs in; nothing needs to be done before it.
    start: () => undefined,
    async stop() {
      await session.stop();
      await addresses.close();
    },
    describe: transit.describe,
    encrypt: transit.encrypt,
    decrypt: transit.decrypt,
    versionOf: transitForm.versionOf,
  };
}

/** The certificate that logs in is the one of the connection, so it wins over that of `tls`. */
async function readTls(
  { tls, auth }: VaultOptions,
  readSecret: ReadSecret,
): Promise<Result<TlsMaterial>> {
  const { certFile, keyFile } = auth.cert ?? tls;
  try {
    const [ca, cert, key] = await Promise.all([
      tls.caFile === undefined ? undefined : readFile(tls.caFile, 'utf8'),
      certFile === undefined ? undefined : readSecret(certFile),
      keyFile === undefined ? undefined : readSecret(keyFile),
    ]);
    // Throws where the key is not that of the certificate.
    if (cert !== undefined) createSecureContext({ cert, key });
    return succeed({
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
  } catch (error) {
    return fail(
      'unavailable',
      `reading the TLS files for Vault: ${error instanceof Error ? error.message : 'failed'}`,
    );
  }
}
