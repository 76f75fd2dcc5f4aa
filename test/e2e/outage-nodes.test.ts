/** Two control-plane nodes, whose kube-apiservers start again while Vault is away, and what is left of it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { IDENTITY, kmsProvider } from '../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import { type Plugin, startAgain } from '../servers/plugin.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { KEY, prepareTransit, startWithToken, testFolder } from '../vault/vault-under-test.ts';

const WAIT_MS = 120_000;
const OF_AN_OUTAGE = 'local-kek.trousseau.io';

type Node = { plugin: Plugin; readonly api: KubeApiserver; readonly folder: string };

describe('two control-plane nodes with the decrypt cache on, KMS v2,', { timeout: 480_000 }, () => {
  const folder = testFolder();
  const secrets = new Map<string, string>();
  let vault: Vault;
  let etcd: Etcd;
  let a: Node;
  let b: Node;

  const startNode = async (name: string): Promise<Node> => {
    const own = folder.sub(name);
    const top = { decryptCache: {} };
    const plugin = await startWithToken(vault.admin, vault.address, own, { period: '1h' }, {}, top);
    await plugin.ready();
    const api = await startKubeApiserver({
      dir: join(folder.path, 'servers'),
      etcd: etcd.endpoint,
      providers: [kmsProvider('v2', plugin.socket), IDENTITY],
      waitFor: '/livez',
    });
    return { plugin, api, folder: own };
  };
  const create = async ({ api }: Node, name: string): Promise<void> => {
    await api.secrets.create(name, `the value of ${name}`);
    secrets.set(name, `the value of ${name}`);
  };
  const readsAll = async ({ api }: Node): Promise<void> => {
    const listed = await api.secrets.list();
    assert.deepEqual(new Map(listed.map(({ name, value }) => [name, value])), secrets);
    for (const [name, value] of secrets) assert.equal(await api.secrets.read(name), value);
  };
  const startAndRead = async (node: Node): Promise<void> => {
    await node.api.restart();
    await waitUntil('a Secret is read', WAIT_MS, async () => {
      const read = await node.api.secrets.read('of-a');
      if (read === secrets.get('of-a')) return true;
      throw new Error(JSON.stringify(read));
    });
    await readsAll(node);
  };
  /** How many Secrets in etcd were written under the seed of an outage. */
  const ofAnOutage = async (): Promise<number> => {
    const stored = await etcd.rangePrefix('/registry/secrets/');
    return stored.filter(({ value }) => value.includes(OF_AN_OUTAGE)).length;
  };

  before(async () => {
    const dir = folder.sub('servers');
    vault = await startSealableVault({ release: 'newest', dir });
    await prepareTransit(vault.admin);
    etcd = await startEtcd({ dir });
    a = await startNode('a');
    b = await startNode('b');
    await create(a, 'of-a');
    await create(b, 'of-b');
    for (const node of [a, b]) await readsAll(node);
    await vault.stop('kill');
  });
  after(async () => {
    for (const node of [a, b]) {
      await node?.api.stop();
      await node?.plugin.stop();
    }
    await etcd?.stop();
    await vault?.stop();
    folder.remove();
  });

  it('start again without Vault, one after the other, and each reads what the other wrote meanwhile', async () => {
    await startAndRead(a);
    await create(a, 'of-a-meanwhile');
    assert.equal(await ofAnOutage(), 1);
    await readsAll(b);
    await startAndRead(b);
    await create(b, 'of-b-meanwhile');
    for (const node of [a, b]) await readsAll(node);
    assert.equal(vault.process.isRunning(), false);
  });

  it('read all of it with Vault alone, once their plugins have forgotten what they knew', async () => {
    await vault.restart();
    for (const node of [a, b]) {
      await node.plugin.stop();
      node.plugin = await startAgain(node.folder);
      await node.plugin.ready();
      await startAndRead(node);
    }
  });

  it('leave nothing of the outage in etcd once the key was rotated and every Secret written anew', async () => {
    assert.equal(await ofAnOutage(), 2);
    const before = (await a.plugin.client.v2.status()).key_id;
    await vault.admin.rotateKey(KEY);
    for (const { api, plugin } of [a, b]) {
      await waitUntil('the new key_id', WAIT_MS, async () => {
        return (await plugin.client.v2.status()).key_id !== before;
      });
      await waitUntil('kube-apiserver asks for a seed under it', WAIT_MS, async () => {
        await api.secrets.rewrite('of-a');
        const stored = await etcd.range('/registry/secrets/default/of-a');
        return stored?.includes('vault:v2:') ?? false;
      });
    }
    for (const name of secrets.keys()) await b.api.secrets.rewrite(name);
    assert.equal(await ofAnOutage(), 0);
    for (const node of [a, b]) await readsAll(node);
  });
});
