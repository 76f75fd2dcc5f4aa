/**
 * A real kube-apiserver with its etcd and a real Vault, over TLS, on the machine's loopback; the plugin
 * between them is the installed package, in the sandbox of its unit, and has its secret id as a
 * credential of systemd.
 */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { testServers } from '../../../scripts/test-servers/binaries.ts';
import { createAuthority } from '../../servers/certificates.ts';
import { IDENTITY, kmsProvider } from '../../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../../servers/kube-apiserver.ts';
import { startSealableVault, type Vault } from '../../servers/vault.ts';
import type { AppRole } from '../../servers/vault-admin.ts';
import { KEY, POLICY, prepareTransit } from '../../vault/vault-under-test.ts';
import {
  journal,
  MEMBER,
  owned,
  PLUGIN,
  property,
  SERVICE,
  SOCKET,
  SOCKET_UNIT,
  saysOfItself,
  systemctl,
  writeConfig,
  writeDropIn,
  writeInside,
} from '../installation.ts';
import { mayRead, type UnderTest } from './under-test.ts';

const PREFIX = 'k8s:enc:kms:v2:trousseau:';
const SECRETS = 10;
const CA = '/etc/trousseau/ca.pem';
const SECRET_ID = '/etc/trousseau/secret-id';
const ENCRYPTED = '/etc/trousseau/secret-id.cred';
const NEEDED = ['etcd', 'kube-apiserver', 'vault-newest'] as const;

const nameOf = (i: number): string => `secret-${i}`;
const contentOf = (i: number): string => `the value of secret ${i}`;

/** Throws where a server was not built. */
export function needServers(): void {
  const servers = testServers();
  const absent = NEEDED.filter((name) => !existsSync(servers[name]));
  if (absent.length === 0) return;
  const build = 'node_modules/.bin/node scripts/build-test-servers.ts';
  throw new Error(`not built: ${absent.join(', ')}; run ${build} ${absent.join(' ')}`);
}

/** Needs an installed package that is switched off; leaves it so, and with Vault in its configuration. */
export function cluster(under: UnderTest, dir: string): void {
  let vault: Vault;
  let role: AppRole;
  let etcd: Etcd;
  let api: KubeApiserver;
  after(async () => {
    await api?.stop();
    await etcd?.stop();
    await vault?.stop();
  });
  const readAll = async (): Promise<void> => {
    for (let i = 0; i < SECRETS; i += 1)
      assert.equal(await api.secrets.read(nameOf(i)), contentOf(i));
  };

  it('logs in to Vault with a secret id that systemd hands to it alone', async () => {
    const { machine } = under;
    const servers = join(dir, 'servers');
    mkdirSync(servers);
    const authority = await createAuthority(servers);
    const pair = await authority.issue('vault', { commonName: 'vault', hosts: ['127.0.0.1'] });
    vault = await startSealableVault({
      release: 'newest',
      dir: servers,
      tls: { ...pair, caFile: authority.caFile },
    });
    await prepareTransit(vault.admin);
    await vault.admin.enableAuth('approle');
    const parameters = { token_policies: [POLICY], token_period: '1h' };
    role = await vault.admin.createAppRole('trousseau', parameters);

    copyFileSync(authority.caFile, join(machine.root, CA));
    await machine.must(['chmod', '0644', CA]);
    writeInside(machine, SECRET_ID, role.secretId, 0o600);
    writeConfig(machine, vaultConfig(vault.address, role.roleId));
    await writeDropIn(machine, [`LoadCredential=secret-id:${SECRET_ID}`]);
    await systemctl(machine, 'enable', '--now', SOCKET_UNIT, SERVICE);
    await saysOfItself(machine, /^ready, encrypting with vault:v1:/);
    assert.equal(await owned(machine, SECRET_ID), '600 root:root');
    assert.equal(await mayRead(machine, SECRET_ID, PLUGIN), false);
    const credential = '/run/credentials/trousseau.service/secret-id';
    assert.equal(await mayRead(machine, credential, MEMBER), false);
  });

  it('Secrets are written and read through it, and lie encrypted in etcd', async () => {
    const servers = join(dir, 'servers');
    etcd = await startEtcd({ dir: servers });
    api = await startKubeApiserver({
      dir: servers,
      etcd: etcd.endpoint,
      providers: [kmsProvider('v2', join(under.machine.root, SOCKET)), IDENTITY],
    });
    for (let i = 0; i < SECRETS; i += 1) await api.secrets.create(nameOf(i), contentOf(i));
    await readAll();
    for (let i = 0; i < SECRETS; i += 1) {
      const value = await etcd.range(`/registry/secrets/default/${nameOf(i)}`);
      assert.ok(value, `${nameOf(i)} is in etcd`);
      assert.equal(value.subarray(0, PREFIX.length).toString(), PREFIX);
      assert.equal(value.includes(contentOf(i)), false);
      assert.equal(value.includes(Buffer.from(contentOf(i)).toString('base64')), false);
    }
  });

  it('with the secret id encrypted for this machine, and both restarted, all of them are read', async () => {
    const { machine } = under;
    await machine.must(['systemd-creds', 'setup']);
    const encrypt = ['systemd-creds', 'encrypt', '--with-key=host', '--name=secret-id'];
    await machine.must([...encrypt, SECRET_ID, ENCRYPTED]);
    rmSync(join(machine.root, SECRET_ID));
    await writeDropIn(machine, [`LoadCredentialEncrypted=secret-id:${ENCRYPTED}`]);
    await systemctl(machine, 'restart', SERVICE);
    await saysOfItself(machine, /^ready, encrypting with vault:v1:/);
    await api.restart();
    await readAll();
    await api.secrets.create('after', 'written after the restart');
    assert.equal(await api.secrets.read('after'), 'written after the restart');
  });

  it('neither secret id nor plaintext is in the journal', async () => {
    const { machine } = under;
    await api.stop();
    await systemctl(machine, 'disable', '--now', SOCKET_UNIT, SERVICE);
    const lines = (await journal(machine, SERVICE)).join('\n');
    assert.match(lines, /"msg":"key announced"/);
    assert.ok(!lines.includes(role.secretId));
    assert.ok(!lines.includes('the value of secret'));
    assert.equal(await property(machine, SERVICE, 'Result'), 'success');
  });
}

function vaultConfig(address: string, roleID: string): string {
  return `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
providers:
  - name: vault
    vault:
      addresses: ['${address}']
      key: ${KEY}
      tls: {caFile: ${CA}}
      auth:
        appRole: {roleID: ${roleID}, secretIDFile: 'credential:secret-id'}
`;
}
