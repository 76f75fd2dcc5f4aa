/** A kube-apiserver that is started again while Vault is away: what the cache for outages is for. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IDENTITY, kmsProvider } from '../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import { type Plugin, startAgain } from '../servers/plugin.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { prepareTransit, startWithToken, testFolder } from '../vault/vault-under-test.ts';

const SECRETS = 20;
const READ_MS = 120_000;

const nameOf = (i: number): string => `secret-${i}`;
const contentOf = (i: number): string => `the value of secret ${i}`;

type Case = { readonly api: 'v1' | 'v2'; readonly cache: boolean; readonly needsVault: boolean };

/**
 * With KMS v2 a kube-apiserver that starts reads nothing ("got unexpected nil transformer") before the
 * plugin has encrypted a new seed for it: TransformFromStorage in
 * k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/envelope.go.
 */
const cases: readonly Case[] = [
  { api: 'v1', cache: true, needsVault: false },
  { api: 'v1', cache: false, needsVault: true },
  { api: 'v2', cache: true, needsVault: false },
  { api: 'v2', cache: false, needsVault: true },
];

for (const { api: version, cache, needsVault } of cases) {
  const title = `a kube-apiserver that starts while Vault is away, KMS ${version}, the cache ${cache ? 'on' : 'off'}`;
  describe(title, { timeout: 360_000 }, () => {
    const folder = testFolder();
    let vault: Vault;
    let plugin: Plugin;
    let etcd: Etcd;
    let api: KubeApiserver;

    const readAll = async (beside = 0): Promise<void> => {
      for (let i = 0; i < SECRETS; i += 1)
        assert.equal(await api.secrets.read(nameOf(i)), contentOf(i));
      assert.equal((await api.secrets.list()).length, SECRETS + beside);
    };
    const firstRead = (): Promise<void> =>
      waitUntil('a Secret is read', READ_MS, async () => {
        const read = await api.secrets.read(nameOf(0));
        if (read === contentOf(0)) return true;
        throw new Error(JSON.stringify(read));
      });

    before(async () => {
      const dir = folder.sub('servers');
      vault = await startSealableVault({ release: 'newest', dir });
      await prepareTransit(vault.admin);
      const own = folder.sub('plugin');
      const top = cache ? { decryptCache: {} } : {};
      plugin = await startWithToken(vault.admin, vault.address, own, { period: '1h' }, {}, top);
      await plugin.ready();
      etcd = await startEtcd({ dir });
      api = await startKubeApiserver({
        dir,
        etcd: etcd.endpoint,
        providers: [kmsProvider(version, plugin.socket), IDENTITY],
        featureGates: { KMSv1: version === 'v1' },
        waitFor: '/livez',
      });
      for (let i = 0; i < SECRETS; i += 1) await api.secrets.create(nameOf(i), contentOf(i));
      await readAll();
      await vault.stop('kill');
    });
    after(async () => {
      await api?.stop();
      await etcd?.stop();
      await plugin?.stop();
      await vault?.stop();
      folder.remove();
    });

    if (needsVault) {
      it('comes up and reads all when Vault is back, with no restart of the plugin', async (t) => {
        const asked = plugin.log().length;
        const restarting = api.restart();
        restarting.catch(() => undefined); // awaited below
        await waitUntil('it asks the plugin in vain', READ_MS, () =>
          plugin
            .log()
            .slice(asked)
            .some(({ msg, outcome }) => msg === 'kms call' && outcome === 'UNAVAILABLE'),
        );
        const began = performance.now();
        await vault.restart();
        await restarting;
        await firstRead();
        t.diagnostic(`read ${Math.round(performance.now() - began)} ms after Vault was started`);
        await readAll();
        await api.secrets.create('after', 'the outage');
        assert.equal(await api.secrets.read('after'), 'the outage');
        assert.ok(plugin.process.isRunning());
      });
    } else {
      it('comes up and reads its Secrets without Vault', async (t) => {
        const began = performance.now();
        await api.restart();
        t.diagnostic(`livez after ${Math.round(performance.now() - began)} ms`);
        await firstRead();
        t.diagnostic(`the first Secret after ${Math.round(performance.now() - began)} ms`);
        await readAll();
        assert.equal(vault.process.isRunning(), false);
        assert.notEqual((await plugin.client.v2.status()).healthz, 'ok');
      });
      if (version === 'v2') {
        it('writes in the outage too, and what it wrote is read by one that starts when Vault is back', async () => {
          await api.secrets.create('meanwhile', 'written without Vault');
          await api.restart();
          await firstRead();
          assert.equal(await api.secrets.read('meanwhile'), 'written without Vault');
          await vault.restart();
          await plugin.stop(); // forgets all that it knows
          plugin = await startAgain(join(folder.path, 'plugin'));
          await plugin.ready();
          await api.restart();
          await firstRead();
          await readAll(1);
          assert.equal(await api.secrets.read('meanwhile'), 'written without Vault');
        });
      }
    }
  });
}
