import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { IDENTITY, kmsProvider } from '../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import type { Plugin } from '../servers/plugin.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { KEY, prepareTransit, startWithAppRole, testFolder } from '../vault/vault-under-test.ts';

const PREFIX = 'k8s:enc:kms:v2:trousseau:';
const SECRETS = 20;
/** kube-apiserver asks Status once a minute, and keeps a good answer for 20 s where its health is asked for. */
const STATUS_SEEN_MS = 90_000;

const folder = testFolder();
let vault: Vault;
let plugin: Plugin;
let etcd: Etcd;
let api: KubeApiserver;

const nameOf = (i: number): string => `secret-${i}`;
const contentOf = (i: number): string => `the value of secret ${i}`;

async function stored(name: string): Promise<Buffer> {
  const value = await etcd.range(`/registry/secrets/default/${name}`);
  assert.ok(value, `${name} is in etcd`);
  return value;
}

async function readAll(): Promise<void> {
  for (let i = 0; i < SECRETS; i += 1)
    assert.equal(await api.secrets.read(nameOf(i)), contentOf(i));
}

describe('a real kube-apiserver and a real Vault, KMS v2', { timeout: 360_000 }, () => {
  before(async () => {
    const dir = folder.sub('servers');
    vault = await startSealableVault({ release: 'newest', dir });
    await prepareTransit(vault.admin);
    plugin = await startWithAppRole(vault.admin, vault.address, folder.sub('plugin'));
    etcd = await startEtcd({ dir });
    api = await startKubeApiserver({
      dir,
      etcd: etcd.endpoint,
      providers: [kmsProvider('v2', plugin.socket), IDENTITY],
    });
  });
  after(async () => {
    await api?.stop();
    await etcd?.stop();
    await plugin?.stop();
    await vault?.stop();
    folder.remove();
  });

  it('Secrets are written and read, and lie encrypted in etcd', async () => {
    for (let i = 0; i < SECRETS; i += 1) await api.secrets.create(nameOf(i), contentOf(i));
    await readAll();
    for (let i = 0; i < SECRETS; i += 1) {
      const value = await stored(nameOf(i));
      assert.equal(value.subarray(0, PREFIX.length).toString(), PREFIX);
      assert.equal(value.includes(contentOf(i)), false);
      assert.equal(value.includes(Buffer.from(contentOf(i)).toString('base64')), false);
    }
  });

  it('a kube-apiserver that was restarted reads all of them', async () => {
    await api.restart();
    await readAll();
  });

  it('a rotation in Vault is followed: new key_id, what is rewritten carries it, the rest stays readable', async () => {
    const before = (await plugin.client.v2.status()).key_id;
    assert.ok((await stored(nameOf(0))).includes(before));
    await vault.admin.rotateKey(KEY);
    await waitUntil(
      'the plugin announces the new version',
      5_000,
      async () => (await plugin.client.v2.status()).key_id !== before,
    );
    const announced = (await plugin.client.v2.status()).key_id;
    await waitUntil('kube-apiserver writes under the new key_id', STATUS_SEEN_MS, async () => {
      await api.kmsHealth();
      await api.secrets.rewrite(nameOf(0));
      return (await stored(nameOf(0))).includes(announced);
    });
    assert.ok((await stored(nameOf(1))).includes(before));
    await readAll();
    await api.restart();
    await readAll();
  });

  it('while Vault is away readiness shows it, Secrets are read and written on, and all is well again by itself', async () => {
    await vault.stop('kill');
    await waitUntil('readyz fails', STATUS_SEEN_MS, async () => !(await api.readyz()));
    const { body } = await api.kmsHealth();
    assert.match(JSON.stringify(body), /provider unavailable for \d+ s: .*cannot reach/);
    await api.secrets.create('in-the-outage', 'written with the seed in memory');
    assert.equal(await api.secrets.read('in-the-outage'), 'written with the seed in memory');
    await readAll();
    await vault.restart();
    await plugin.ready(2_000);
    await waitUntil('readyz is good again', STATUS_SEEN_MS, () => api.readyz());
    await api.restart();
    assert.equal(await api.secrets.read('in-the-outage'), 'written with the seed in memory');
  });
});
