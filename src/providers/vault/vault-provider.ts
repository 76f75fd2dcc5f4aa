/** Vault's Transit engine as a provider: its parts put together. */
import type { VaultConfig } from '../../config/schema.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../system/clock.ts';
import type { Provider } from '../provider.ts';
import { createAddresses } from './addresses.ts';
import type { ReadSecret } from './auth/login.ts';
import type { LoginMemory } from './auth/login-memory.ts';
import { authMethod } from './auth/method.ts';
import { createVaultClient } from './client.ts';
import { createDispatcher } from './dispatcher.ts';
import { createVaultConnection } from './http.ts';
import { createNames, systemLookup } from './names.ts';
import { transitCiphertextIn } from './predecessors.ts';
import { resolveTargets } from './resolve.ts';
import { createRetryBudget } from './retry-budget.ts';
import { createSession } from './session.ts';
import { readTlsFiles } from './tls-files.ts';
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
  /** What the process knows of its logins; one for all providers of all configurations. */
  readonly logins: LoginMemory;
  /** Sockets, unless a test has servers of its own. */
  readonly open?: typeof createDispatcher;
};

/** A provider that has not contacted Vault yet. */
export function createVaultProvider(
  name: string,
  options: VaultOptions,
  { log, env, clock, readSecret, logins, open = createDispatcher }: VaultDependencies,
): Provider {
  const budget = createRetryBudget(clock);
  const { addresses: urls, proxy } = options;
  const names = createNames(systemLookup, clock);
  const naming = { urls, proxy, env, lookup: names.lookup, clock };
  const addresses = createAddresses({
    resolve: (held) => resolveTargets(naming, held),
    readTls: () => readTlsFiles(options, readSecret, env),
    connect: (target, tls) =>
      createVaultConnection({
        target,
        config: options,
        env,
        tls,
        names,
        clock,
        mayRetry: budget.take,
        open,
      }),
    requestTimeoutMs: options.requestTimeout,
    hedge: options.hedge,
    budget,
    clock,
    log,
  });
  const session = createSession({
    method: authMethod(options.auth, readSecret, logins.unwrapped),
    vault: `${[...urls].sort().join(' ')} ${options.namespace ?? ''}`,
    memory: logins,
    send: addresses.request,
    refresh: addresses.refresh,
    clock,
    log,
  });
  const transit = createTransit(createVaultClient(addresses, session), options);
  const whole = (stored: Uint8Array): Uint8Array => transitCiphertextIn(stored, options.key);
  return {
    name,
    // The watcher's first look logs in; nothing needs to be done before it.
    start: () => undefined,
    async stop() {
      await session.stop();
      const underWay = session.underWay();
      if (underWay === undefined) await addresses.close();
      // Where the process lives on, as after a reload, these tokens are given back too.
      else void underWay.then(addresses.close);
    },
    describe: transit.describe,
    encrypt: transit.encrypt,
    decrypt: (ciphertexts, signal) => transit.decrypt(ciphertexts.map(whole), signal),
    mayDecrypt: transit.mayDecrypt,
    versionOf: (ciphertext) => transitForm.versionOf(whole(ciphertext)),
  };
}
