/**
 * Where the configuration is silent, the environment of Vault's own tools holds.
 * https://developer.hashicorp.com/vault/docs/commands#environment-variables
 */
import type { Config, LocalConfig, VaultConfig } from './schema.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A provider of exactly one kind, nothing left to default. */
export type ResolvedProvider =
  | {
      readonly name: string;
      readonly vault: Omit<VaultConfig, 'addresses'> & { readonly addresses: readonly string[] };
    }
  | { readonly name: string; readonly local: LocalConfig };

export type ResolvedConfig = Omit<Config, 'providers' | 'write'> & {
  readonly providers: readonly ResolvedProvider[];
  readonly write: readonly string[];
};

/** The configuration with VAULT_ADDR, VAULT_NAMESPACE and VAULT_CACERT filled in. */
export function withEnvironment(config: Config, env: Environment): Config {
  const providers = config.providers.map((provider) => {
    if (provider.vault === undefined) return provider;
    const { vault } = provider;
    const addresses =
      vault.addresses ?? (set(env['VAULT_ADDR']) ? [env['VAULT_ADDR'] ?? ''] : undefined);
    const namespace =
      vault.namespace ??
      (set(env['VAULT_NAMESPACE']) ? env['VAULT_NAMESPACE']?.replace(/^\/+|\/+$/g, '') : undefined);
    const caFile = vault.tls.caFile ?? (set(env['VAULT_CACERT']) ? env['VAULT_CACERT'] : undefined);
    return {
      ...provider,
      vault: {
        ...vault,
        ...(addresses === undefined ? {} : { addresses }),
        ...(namespace === undefined ? {} : { namespace }),
        tls: { ...vault.tls, ...(caFile === undefined ? {} : { caFile }) },
      },
    };
  });
  return { ...config, providers };
}

/** What of the environment has no effect here although people expect one. */
export function environmentWarnings(config: Config, env: Environment): readonly string[] {
  if (!config.providers.some(({ vault }) => vault !== undefined)) return [];
  return [
    ...(set(env['VAULT_TOKEN'])
      ? ['VAULT_TOKEN is ignored: a token is read from auth.token.tokenFile']
      : []),
    ...(set(env['VAULT_SKIP_VERIFY'])
      ? ['VAULT_SKIP_VERIFY is ignored: certificates are always verified']
      : []),
  ];
}

/** The same configuration, as the daemon needs it. Its relations have been checked. */
export function resolved(config: Config): ResolvedConfig {
  const providers = config.providers.map((provider): ResolvedProvider => {
    const { name, vault, local } = provider;
    if (local !== undefined) return { name, local };
    if (vault?.addresses === undefined) throw new Error('the configuration was not checked');
    return { name, vault: { ...vault, addresses: vault.addresses } };
  });
  return {
    ...config,
    providers,
    write: config.write ?? providers.slice(0, 1).map(({ name }) => name),
  };
}

function set(value: string | undefined): boolean {
  return value !== undefined && value !== '';
}
