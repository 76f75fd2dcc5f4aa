/** docs/operations.md, "When the key is lost": no kube-apiserver lists a Secret, or one has forgotten its seeds. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import {
  IDENTITY,
  kmsProvider,
  writeEncryptionConfiguration,
} from '../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import { writeKubeconfig } from '../servers/kubeconfig.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  KEY,
  POLICY,
  prepareTransit,
  secretFile,
  startWithToken,
  testFolder,
  vaultConfig,
} from '../vault/vault-under-test.ts';
import { documentBlocks, type NodeFolder, nodeFolder } from './document.ts';

const WAIT_MS = 120_000;
const LIST = '/api/v1/namespaces/default/secrets';
const run = promisify(execFile);

type Node = {
  readonly name: string;
  readonly plugin: Plugin;
  readonly api: KubeApiserver;
  readonly folder: NodeFolder;
};

/** The commands of the document that begin so. */
function commands(start: string): string {
  const found = documentBlocks('docs/operations.md').filter(
    ({ language, text }) => language === 'sh' && text.startsWith(start),
  );
  assert.equal(found.length, 1, start);
  return found[0]?.text ?? '';
}

const COPY = 'mkdir -p -m 0700 /dev/shm/rescue';
const TOGETHER = 'kubectl --server https://NODE:6443 annotate secrets --all';
const ONE_BY_ONE = 'etcdctl get /registry/secrets/ --prefix --keys-only';

describe('two kube-apiservers that have lost the key', { timeout: 480_000 }, () => {
  const folder = testFolder();
  const nodes: Node[] = [];
  let vault: Vault;
  let etcd: Etcd;
  let lost = '';

  const startNode = async (name: string, token: string): Promise<Node> => {
    const own = folder.sub(name);
    const tokenFile = secretFile(own, 'token', token);
    const config = vaultConfig(vault.address, { token: { tokenFile } });
    const plugin = await startPlugin({ dir: own, config });
    await plugin.ready();
    const api = await startKubeApiserver({
      dir: join(folder.path, 'servers'),
      etcd: etcd.endpoint,
      providers: [kmsProvider('v2', plugin.socket), IDENTITY],
    });
    const kubeconfig = join(own, 'kubeconfig');
    writeKubeconfig(kubeconfig, api);
    const node = nodeFolder({
      dir: join(own, 'node'),
      vault: { address: vault.address, token: vault.admin.token, caFile: '' },
      ...{ kubeconfig, etcd: etcd.endpoint },
      replaced: { 'https://NODE:6443': api.address },
    });
    return { name, plugin, api, folder: node };
  };
  const snapshot = (what: 'save' | 'restore', ...flags: readonly string[]) =>
    run(
      testServers()['vault-newest'],
      ['operator', 'raft', 'snapshot', what, ...flags, join(folder.path, 'snapshot')],
      { env: { HOME: folder.path, VAULT_ADDR: vault.address, VAULT_TOKEN: vault.admin.token } },
    );
  const listed = async ({ api }: Node): Promise<string> => {
    const { status, body } = await api.request('GET', LIST);
    return status === 200 ? 'listed' : JSON.stringify(body);
  };
  const keyIdOf = async ({ plugin }: Node): Promise<string> =>
    (await plugin.client.v2.status()).key_id;

  before(async () => {
    const dir = folder.sub('servers');
    vault = await startSealableVault({ release: 'newest', dir, storage: 'raft' });
    await prepareTransit(vault.admin);
    etcd = await startEtcd({ dir });
    const token = await vault.admin.createToken({ policies: [POLICY], period: '1h' });
    await snapshot('save');
    await vault.admin.rotateKey(KEY);
    for (const name of ['a', 'b']) nodes.push(await startNode(name, token));
    for (const node of nodes) lost = await keyIdOf(node);
    assert.match(lost, /^vault:v2:/);
    await snapshot('restore', '-force');
    await waitUntil('Vault serves the snapshot', WAIT_MS, async () => {
      const { status } = await vault.admin.request('GET', 'sys/health');
      if (status === 503) await vault.unseal();
      return status === 200;
    });
  });
  after(async () => {
    for (const { api, plugin } of nodes) {
      await api.stop();
      await plugin.stop();
    }
    await etcd?.stop();
    await vault?.stop();
    folder.remove();
  });

  it('cannot list any Secret once each has written one that the other cannot read', async () => {
    for (const { api, name } of nodes) await api.secrets.create(`of-${name}`, name);
    for (const node of nodes) {
      await waitUntil('it lists nothing', WAIT_MS, async () =>
        (await listed(node)).includes('unable to transform key'),
      );
    }
  });

  it('take another key once the loss is acknowledged', async () => {
    await vault.admin.rotateKey(KEY);
    for (const { plugin, api, name } of nodes) {
      const file = join(folder.path, name, 'config.yaml');
      const config = JSON.parse(readFileSync(file, 'utf8')) as { health: object };
      config.health = { ...config.health, acknowledgedLosses: [lost] };
      writeFileSync(file, JSON.stringify(config));
      await plugin.ready();
      const { key_id } = await plugin.client.v2.status();
      assert.notEqual(key_id, lost);
      let tries = 0;
      await waitUntil('kube-apiserver writes under it', WAIT_MS, async () => {
        tries += 1;
        await sleep(2_000);
        await api.secrets.create(`probe-${name}-${tries}`, name);
        const stored = await etcd.range(`/registry/secrets/default/probe-${name}-${tries}`);
        return stored?.includes(key_id) ?? false;
      });
    }
  });

  it('cannot write all Secrets again together, and can one by one', async () => {
    for (const node of nodes) assert.match(await listed(node), /unable to transform key/);
    // It ends with an error for what the other one has written.
    for (const { folder: node } of nodes)
      await node.shell(`${commands(ONE_BY_ONE).trimEnd()} || true`);
    for (const node of nodes) {
      await waitUntil('it lists all', WAIT_MS, async () => (await listed(node)) === 'listed');
      await node.folder.shell(commands(TOGETHER));
    }
  });

  it('read all of it after a restart', async () => {
    for (const { api } of nodes) {
      await api.restart();
      for (const { name } of nodes) assert.equal(await api.secrets.read(`of-${name}`), name);
    }
  });
});

describe('a kube-apiserver that has forgotten its seeds', {
  timeout: 300_000,
  concurrency: true,
}, () => {
  const folder = testFolder();

  after(() => folder.remove());

  // As after a day, and as after any change of a file that is reloaded while it runs.
  for (const [version, deletes] of [
    ['v1', false],
    ['v2', false],
    ['v2', true],
  ] as const)
    it(`writes from its watch cache what has a change, and nothing else: KMS ${version}${
      deletes ? ', when a deletion has ended its lists' : ''
    }`, async () => {
      const dir = folder.sub(`${version}-${deletes}`);
      await using vault = await startSealableVault({ release: 'newest', dir });
      await prepareTransit(vault.admin);
      await using plugin = await startWithToken(vault.admin, vault.address, dir);
      await plugin.ready();
      await using etcd = await startEtcd({ dir });
      await using api = await startKubeApiserver({
        dir,
        etcd: etcd.endpoint,
        reload: true,
        featureGates: { KMSv1: true },
        providers: [kmsProvider(version, plugin.socket), IDENTITY],
      });
      const kubeconfig = join(dir, 'kubeconfig');
      writeKubeconfig(kubeconfig, api);
      const node = nodeFolder({
        dir: join(dir, 'node'),
        vault: { address: vault.address, token: vault.admin.token, caFile: '' },
        ...{ kubeconfig, etcd: etcd.endpoint },
        replaced: { 'https://NODE:6443': api.address, '/dev/shm': dir },
      });
      await api.secrets.create('kept', 'in memory');
      await api.secrets.create('deleted', 'too early');
      await vault.admin.rotateKey(KEY);
      const trimmed = { min_decryption_version: 2, min_encryption_version: 2 };
      await vault.admin.configureKey(KEY, trimmed);
      await vault.admin.write(`transit/keys/${KEY}/trim`, { min_available_version: 2 });
      await waitUntil('kube-apiserver reads by the new version', WAIT_MS, async () => {
        const { key_id } = await plugin.client.v2.status();
        return key_id.startsWith('vault:v2:');
      });
      assert.equal(await api.secrets.read('kept'), 'in memory');
      const again = kmsProvider(version, plugin.socket, { name: 'again' });
      writeEncryptionConfiguration(api.configFile, [
        again,
        kmsProvider(version, plugin.socket),
        IDENTITY,
      ]);
      await waitUntil(
        'it has forgotten',
        WAIT_MS,
        async () => (await api.secrets.read('kept')) !== 'in memory',
      );
      await node.shell(commands(COPY));
      if (deletes) {
        await etcd.deletePrefix('/registry/secrets/default/deleted'); // as another kube-apiserver does
        await waitUntil('it lists nothing', WAIT_MS, async () => {
          const { body } = await api.request('GET', LIST);
          return JSON.stringify(body).includes('unable to transform key');
        });
      }
      assert.match(readFileSync(join(dir, 'rescue/secrets-NODE.json'), 'utf8'), /"kept"/);
      await assert.rejects(api.secrets.rewrite('kept'), /500/);
      await node.shell(commands(deletes ? ONE_BY_ONE : TOGETHER));
      assert.equal(await api.secrets.read('kept'), 'in memory');
      await api.restart(undefined, { KMSv1: true });
      assert.equal(await api.secrets.read('kept'), 'in memory');
    });
});
