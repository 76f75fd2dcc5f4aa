/** A real Vault with the key and the policy of the README, and plugins on it. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateAuthority,
  createAuthority,
  type KeyPair,
} from '../servers/certificates.ts';
import { type Plugin, type PluginOptions, startPlugin } from '../servers/plugin.ts';
import { startSealableVault, type Vault, type VaultRelease } from '../servers/vault.ts';
import { transitPolicy, type VaultAdmin } from '../servers/vault-admin.ts';

export const RELEASES: readonly VaultRelease[] = ['oldest', 'newest'];
export const KEY = 'kubernetes';
export const POLICY = 'trousseau';
export const PLAIN = Buffer.from('a data key of thirty-two bytes!!');

/** A folder for a whole test file, gone with it. */
export function testFolder(): { readonly path: string; sub(name: string): string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'trousseau-vault-'));
  return {
    path,
    sub(name) {
      const folder = join(path, name);
      mkdirSync(folder, { mode: 0o700 });
      return folder;
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

export type TlsVault = AsyncDisposable & {
  readonly vault: Vault;
  readonly authority: CertificateAuthority;
  readonly server: KeyPair;
};

/** A Vault that speaks TLS, with a certificate of a private authority; both are files of `dir`. */
export async function startTlsVault(
  dir: string,
  hosts: readonly string[] = ['127.0.0.1'],
): Promise<TlsVault> {
  const authority = await createAuthority(dir);
  const server = await authority.issue('server', { commonName: 'vault', hosts });
  const tls = { ...server, caFile: authority.caFile };
  const vault = await startSealableVault({ release: 'newest', dir, tls });
  return { vault, authority, server, [Symbol.asyncDispose]: async () => await vault.stop() };
}

/** Makes what steps 1 and 2 of the README make. */
export async function prepareTransit(admin: VaultAdmin, mount = 'transit'): Promise<void> {
  await admin.enableSecrets('transit', mount);
  await admin.createKey(KEY, {}, mount);
  await admin.writePolicy(POLICY, transitPolicy(KEY, mount));
}

/** The accessors of all tokens that there are. */
export async function sessions(admin: VaultAdmin): Promise<ReadonlySet<string>> {
  const { status, body } = await admin.request('GET', 'auth/token/accessors?list=true');
  assert.equal(status, 200);
  const { data } = body as { readonly data: { readonly keys: readonly string[] } };
  return new Set(data.keys);
}

/** A file that holds a secret, readable by its owner alone. */
export function secretFile(dir: string, name: string, content: string): string {
  const file = join(dir, name);
  writeFileSync(file, content, { mode: 0o600 });
  return file;
}

/** The configuration of one Vault provider. */
export function vaultConfig(
  address: string | readonly string[],
  auth: Readonly<Record<string, unknown>>,
  more: Readonly<Record<string, unknown>> = {},
): PluginOptions['config'] {
  const addresses = typeof address === 'string' ? [address] : address;
  return {
    health: { watchInterval: '1s' },
    providers: [{ name: 'vault', vault: { addresses, key: KEY, auth, ...more } }],
  };
}

/** A plugin that logs in with a token of the policy; `parameters` as auth/token/create has them. */
export async function startWithToken(
  admin: VaultAdmin,
  address: string,
  dir: string,
  parameters: Readonly<Record<string, unknown>> = {},
  more: Readonly<Record<string, unknown>> = {},
  top: Readonly<Record<string, unknown>> = {},
): Promise<Plugin> {
  const token = await admin.createToken({ policies: [POLICY], ...parameters });
  const tokenFile = secretFile(dir, 'token', token);
  const config = vaultConfig(address, { token: { tokenFile } }, more);
  return await startPlugin({ dir, config: { ...config, ...top } });
}

/** A plugin that logs in by AppRole, with tokens of the given lifetimes. */
export async function startWithAppRole(
  admin: VaultAdmin,
  address: string,
  dir: string,
  role: Readonly<Record<string, unknown>> = { token_period: '1h' },
  more: Readonly<Record<string, unknown>> = {},
): Promise<Plugin> {
  await admin.enableAuth('approle');
  const { roleId, secretId } = await admin.createAppRole('trousseau', {
    token_policies: [POLICY],
    ...role,
  });
  const secretIDFile = secretFile(dir, 'secret-id', secretId);
  return await startPlugin({
    dir,
    config: vaultConfig(address, { appRole: { roleID: roleId, secretIDFile } }, more),
  });
}
