/**
 * Where the configuration is silent, the environment of Vault's own tools holds.
 * https://developer.hashicorp.com/vault/docs/commands#environment-variables
 */
import * as v from 'valibot';
import { proxyChoice, shownProxy } from '../system/proxy.ts';
import type { FieldPath } from './problem.ts';
import { type Config, environmentSchemas, type LocalConfig, type VaultConfig } from './schema.ts';

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

/** The configuration with VAULT_ADDR, VAULT_NAMESPACE and VAULT_CACERT filled in where they are right. */
export function withEnvironment(config: Config, env: Environment): Config {
  const providers = config.providers.map((provider) => {
    if (provider.vault === undefined) return provider;
    const { vault } = provider;
    const address = inEnvironment('VAULT_ADDR', env);
    const addresses = vault.addresses ?? (address === undefined ? undefined : [address]);
    const namespace = vault.namespace ?? inEnvironment('VAULT_NAMESPACE', env);
    const caFile = vault.tls.caFile ?? inEnvironment('VAULT_CACERT', env);
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

/** The variable that gives a field its value where the file, which `config` is, leaves it out. */
export function variableOf(path: FieldPath, config: Config, env: Environment): string | undefined {
  const [list, i, kind, field, more] = path;
  if (list !== 'providers' || kind !== 'vault') return undefined;
  const vault = config.providers[Number(i)]?.vault;
  const from = (name: Variable, value: unknown): string | undefined =>
    value === undefined && set(env[name]) ? name : undefined;
  if (field === 'addresses') return from('VAULT_ADDR', vault?.addresses);
  if (field === 'namespace') return from('VAULT_NAMESPACE', vault?.namespace);
  return field === 'tls' && more === 'caFile' ? from('VAULT_CACERT', vault?.tls.caFile) : undefined;
}

/** What is wrong with the variables that a configuration leaves room for; never says their values. */
export function environmentErrors(config: Config, env: Environment): readonly string[] {
  const vaults = config.providers.flatMap(({ vault }) => (vault === undefined ? [] : [vault]));
  const used: readonly Variable[] = [
    ...(vaults.some(({ addresses }) => addresses === undefined) ? ['VAULT_ADDR' as const] : []),
    ...(vaults.some(({ namespace }) => namespace === undefined)
      ? ['VAULT_NAMESPACE' as const]
      : []),
    ...(vaults.some(({ tls }) => tls.caFile === undefined) ? ['VAULT_CACERT' as const] : []),
  ];
  const wrong = used.flatMap((name) => {
    const parsed = parse(name, env);
    return parsed === undefined || parsed.success ? [] : [`${name} ${parsed.issues[0].message}`];
  });
  const proxies = vaults.length === 0 ? [] : (['HTTPS_PROXY', 'https_proxy'] as const);
  return [
    ...wrong,
    ...proxies
      .filter((name) => set(env[name]) && !isProxy(env[name] ?? ''))
      .map((name) => `${name} must be a URL such as http://proxy.example:3128`),
  ];
}

/** As curl has it, a proxy without a scheme is one that speaks http. */
function isProxy(value: string): boolean {
  const url = URL.parse(value.includes('://') ? value : `http://${value}`);
  return url !== null && ['http:', 'https:'].includes(url.protocol) && url.hostname !== '';
}

type Variable = keyof typeof environmentSchemas;

function parse(name: Variable, env: Environment) {
  const value = env[name];
  return set(value) ? v.safeParse(environmentSchemas[name], value) : undefined;
}

function inEnvironment(name: Variable, env: Environment): string | undefined {
  const parsed = parse(name, env);
  return parsed?.success === true ? parsed.output : undefined;
}

/** What of the environment has no effect here although people expect one, or one that they may not expect. */
export function environmentWarnings(config: Config, env: Environment): readonly string[] {
  if (!config.providers.some(({ vault }) => vault !== undefined)) return [];
  return [
    ...(set(env['VAULT_TOKEN'])
      ? ['VAULT_TOKEN is ignored: a token is read from auth.token.tokenFile']
      : []),
    ...(set(env['VAULT_SKIP_VERIFY'])
      ? ['VAULT_SKIP_VERIFY is ignored: certificates are always verified']
      : []),
    ...(set(env['NODE_EXTRA_CA_CERTS'])
      ? ['NODE_EXTRA_CA_CERTS is ignored: name the authorities of Vault in tls.caFile']
      : []),
    ...proxiesOf(config, env),
  ];
}

/** A proxy that the file does not name is easily forgotten, and hard to guess where it is in trouble. */
function proxiesOf(config: Config, env: Environment): readonly string[] {
  return config.providers.flatMap(({ vault }) =>
    (vault?.addresses ?? []).flatMap((address) => {
      const proxy = vault?.proxy === undefined ? proxyChoice(address, undefined, env) : undefined;
      return proxy === undefined
        ? []
        : [`${proxy.from} is in use: ${address} is reached through ${shownProxy(proxy.url)}`];
    }),
  );
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
