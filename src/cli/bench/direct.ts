/** The provider alone, as the plugin would use it, but with one item in each request. */
import type { ResolvedConfig, ResolvedProvider } from '../../config/environment.ts';
import { loadConfig, readConfigFile } from '../../config/load.ts';
import { type ConfigProblem, formatProblems } from '../../config/problem.ts';
import { keyId } from '../../keyring/key-id.ts';
import { silentLog } from '../../observe/log.ts';
import { fail, type Result, succeed } from '../../providers/errors.ts';
import { createLocalProvider } from '../../providers/local/local-provider.ts';
import type { Provider } from '../../providers/provider.ts';
import { createLoginMemory } from '../../providers/vault/auth/login-memory.ts';
import { createVaultProvider } from '../../providers/vault/vault-provider.ts';
import { systemClock } from '../../system/clock.ts';
import { readSecretFile } from '../../system/files.ts';
import type { DirectSource } from './plan.ts';
import type { Way } from './way.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export type LoadedSource =
  | { readonly ok: true; readonly config: ResolvedConfig; readonly warnings: string }
  | { readonly ok: false; readonly problem: string };

/** The fields that the flags stand for, so that an error names what the person wrote. */
const FLAG_OF: Readonly<Record<string, string>> = {
  'providers[0].vault.addresses[0]': '--vault',
  'providers[0].vault.key': '--key',
  'providers[0].vault.mount': '--mount',
  'providers[0].vault.auth.token.tokenFile': '--token-file',
};

/** The configuration that the plan names, checked as serve checks it. */
export async function loadSource(source: DirectSource, env: Environment): Promise<LoadedSource> {
  if (source.from === 'config') {
    const loaded = await readConfigFile(source.file, env);
    if (!loaded.ok) return { ok: false, problem: formatProblems(loaded.problems) };
    return { ok: true, config: loaded.config, warnings: formatProblems(loaded.warnings) };
  }
  const { address, key, mount, tokenFile } = source;
  const vault = { addresses: [address], key, mount, auth: { token: { tokenFile } } };
  const config = {
    apiVersion: 'trousseau.io/v1',
    kind: 'KMSPluginConfiguration',
    providers: [{ name: 'vault', vault }],
  };
  const loaded = loadConfig(JSON.stringify(config), 'environment', env); // JSON is YAML
  if (!loaded.ok) return { ok: false, problem: loaded.problems.map(asFlag).join('') };
  return { ok: true, config: loaded.config, warnings: loaded.warnings.map(asFlag).join('') };
}

function asFlag({ file, field, message }: ConfigProblem): string {
  return `${field === '' ? file : (FLAG_OF[field] ?? field)}: ${message}\n`;
}

/** The provider that encrypts. */
export function writerOf({ providers, write }: ResolvedConfig): ResolvedProvider {
  const writer = providers.find(({ name }) => name === write[0]);
  if (writer === undefined) throw new Error('the configuration was not resolved');
  return writer;
}

export type Direct = { readonly way: Way; readonly keyId: string };

/** Logs in and reads the key; the owner must stop the way, which gives the session back. */
export async function openDirect(
  writer: ResolvedProvider,
  env: Environment,
  signal: AbortSignal,
): Promise<Result<Direct>> {
  if ('vault' in writer && writer.vault.auth.appRole?.secretIDWrapped === true) {
    return fail(
      'denied',
      'auth.appRole.secretIDWrapped: unwrapping works once, and the plugin needs it: measure with --socket alone, or with --vault and a token of its own',
    );
  }
  const provider = providerOf(writer, env);
  provider.start();
  const described = await provider.describe(signal);
  if (!described.ok) {
    await provider.stop();
    return described;
  }
  const { path, current } = described.value;
  return succeed({ keyId: keyId(path, current), way: directWay(provider, current.version) });
}

function providerOf(writer: ResolvedProvider, env: Environment): Provider {
  if ('local' in writer)
    return createLocalProvider(writer.name, writer.local, {
      log: silentLog,
      clock: systemClock,
      env,
    });
  return createVaultProvider(writer.name, writer.vault, {
    log: silentLog,
    env,
    clock: systemClock,
    readSecret: (place) => readSecretFile(place, env),
    logins: createLoginMemory(systemClock),
  });
}

function directWay(provider: Provider, version: number): Way {
  return {
    name: 'direct',
    async encrypt(plaintext, signal) {
      const [result = MISSING] = await provider.encrypt([plaintext], version, signal);
      if (!result.ok) return result;
      return succeed({ ciphertext: result.value, key_id: '', annotations: new Map() });
    },
    async decrypt({ ciphertext }, signal) {
      const [result = MISSING] = await provider.decrypt([ciphertext], signal);
      return result;
    },
    stop: () => provider.stop(),
  };
}

const MISSING = fail('internal', 'the provider answered nothing');
