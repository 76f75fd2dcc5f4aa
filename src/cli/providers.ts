/** From a configuration to the providers that it names and the keyring over them. */
import { isDeepStrictEqual } from 'node:util';
import type { Environment, ResolvedConfig } from '../config/environment.ts';
import type { Failures } from '../keyring/failures.ts';
import type { HandedOver } from '../keyring/handed-over.ts';
import type { KeyId } from '../keyring/key-id.ts';
import { createKeyring, type Keyring } from '../keyring/keyring.ts';
import type { Sample } from '../keyring/self-test.ts';
import type { AnnouncedKey } from '../keyring/state.ts';
import type { Log } from '../observe/log.ts';
import { createLocalProvider } from '../providers/local/local-provider.ts';
import type { Provider } from '../providers/provider.ts';
import type { LoginMemory } from '../providers/vault/auth/login-memory.ts';
import { createVaultProvider } from '../providers/vault/vault-provider.ts';
import type { Clock } from '../system/clock.ts';
import { readSecretFile } from '../system/files.ts';

/** A keyring that has not started yet. */
export type Built = {
  readonly keyring: Keyring;
  /** The name of the provider that encrypts. */
  readonly writer: string;
  readonly encrypts: Provider;
  /** Those of its providers that only decrypt; the keyring starts and stops them. */
  readonly decryptOnly: readonly Provider[];
};

export type BuildContext = {
  readonly env: Environment;
  readonly log: Log;
  readonly clock: Clock;
  /** Whether an operator has said that this announced key is lost for good. */
  readonly isAcknowledged: (lost: KeyId) => boolean;
  /** What the process before this one has announced, and whether the configuration names that key. */
  readonly remembered?: (config: ResolvedConfig) => HandedOver | undefined;
  /** Has a new key_id outlive the process, within a second, before it is announced. */
  readonly announcing?: (
    key: AnnouncedKey,
    sample: Sample | undefined,
    config: ResolvedConfig,
  ) => Promise<void>;
  /** Where calls that fail are counted, across reloads. */
  readonly failures?: Failures;
  /** One for the whole process. */
  readonly logins: LoginMemory;
};

/** Builds what the configuration names, and contacts nobody. */
export function buildKeyring(config: ResolvedConfig, context: BuildContext): Built {
  const { env, log, clock, isAcknowledged, failures, logins, announcing } = context;
  const readers = config.providers.map((provider): Provider => {
    const providerLog = log.with({ provider: provider.name });
    return 'vault' in provider
      ? createVaultProvider(provider.name, provider.vault, {
          log: providerLog,
          env,
          clock,
          readSecret: (place) => readSecretFile(place, env),
          logins,
        })
      : createLocalProvider(provider.name, provider.local, { log: providerLog, clock, env });
  });
  const writer = readers.find(({ name }) => name === config.write[0]);
  if (writer === undefined)
    throw new Error('the configuration was not resolved: write names no provider');
  const keyring = createKeyring({
    writer,
    readers,
    watchIntervalMs: config.health.watchInterval,
    cache: config.decryptCache && {
      maxEntries: config.decryptCache.maxEntries,
      maxAgeMs: config.decryptCache.maxAge,
    },
    isAcknowledged,
    remembered: context.remembered?.(config),
    ...(failures === undefined ? {} : { failures }),
    ...(announcing && {
      announcing: (key: AnnouncedKey, sample: Sample | undefined) =>
        announcing(key, sample, config),
    }),
    clock,
    log,
  });
  const decryptOnly = readers.filter((reader) => reader !== writer);
  return { keyring, writer: writer.name, encrypts: writer, decryptOnly };
}

/** Whether the configuration says that this announced key is lost for good. */
export function isAcknowledged({ health }: ResolvedConfig, lost: KeyId): boolean {
  return health.acknowledgedLosses?.includes(lost) ?? false;
}

/** The provider that encrypts, as it is configured. */
export function writerOf({ providers, write }: ResolvedConfig): unknown {
  return providers.find(({ name }) => name === write[0]);
}

/** Whether what one encrypts with is configured in the other in the same way, under whatever name. */
export function keepsWriter(next: ResolvedConfig, current: ResolvedConfig): boolean {
  return keeps(
    next,
    current.providers.find(({ name }) => name === current.write[0]),
  );
}

/**
 * Whether all providers of one are configured in the other as they were, with the same cache: what they have
 * decrypted may be answered there too, while they are away.
 */
export function keepsProviders(next: ResolvedConfig, current: ResolvedConfig): boolean {
  return (
    isDeepStrictEqual(next.decryptCache, current.decryptCache) &&
    current.providers.every((one) => keeps(next, one))
  );
}

function keeps(
  { providers }: ResolvedConfig,
  one: ResolvedConfig['providers'][number] | undefined,
): boolean {
  return providers.some((other) => isDeepStrictEqual({ ...other, name: '' }, { ...one, name: '' }));
}

/**
 * The providers that only decrypt and whose key no provider of the next configuration names any more. The one
 * that encrypts is none of them: a reload proves that what it has encrypted can still be decrypted.
 */
export function removedReaders(next: ResolvedConfig, current: ResolvedConfig): readonly string[] {
  return current.providers
    .filter(({ name }) => name !== current.write[0])
    .filter((one) => !next.providers.some((other) => isDeepStrictEqual(keyOf(one), keyOf(other))))
    .map(({ name }) => name);
}

/** What names the key of a provider, and none of the addresses. */
export function keyOf(provider: ResolvedConfig['providers'][number]): readonly string[] {
  return 'vault' in provider
    ? ['vault', provider.vault.namespace ?? '', provider.vault.mount, provider.vault.key]
    : ['local', provider.local.keyringFile];
}

/**
 * The provider of another configuration that has the same keyring file as this one has under a name;
 * undefined where there is none.
 */
export function sameFileIn(
  other: ResolvedConfig,
  { providers }: ResolvedConfig,
  name: string,
): string | undefined {
  const file = keyringFileOf(providers.find((provider) => provider.name === name));
  return file === undefined
    ? undefined
    : other.providers.find((provider) => keyringFileOf(provider) === file)?.name;
}

function keyringFileOf(provider: ResolvedConfig['providers'][number] | undefined) {
  return provider !== undefined && 'local' in provider ? provider.local.keyringFile : undefined;
}

/** Whether both would build the same keyring. */
export function sameKeyring(a: ResolvedConfig, b: ResolvedConfig): boolean {
  return isDeepStrictEqual(keyringSettings(a), keyringSettings(b));
}

/** Whether what one has kept for an outage may answer for the other. */
export function sameProviders(a: ResolvedConfig, b: ResolvedConfig): boolean {
  return isDeepStrictEqual(providerSettings(a), providerSettings(b));
}

function keyringSettings(config: ResolvedConfig): unknown {
  return { ...providerSettings(config), watchInterval: config.health.watchInterval };
}

function providerSettings({ providers, write, decryptCache }: ResolvedConfig) {
  return { providers, write, decryptCache };
}
