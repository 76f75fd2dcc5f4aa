/** The pages of docs/migration, each from a cluster with the earlier plugin to its end, as it stands there. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  type EarlierKind,
  type EarlierPlugin,
  startEarlierPlugin,
} from '../servers/earlier-plugin.ts';
import { IDENTITY } from '../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import { writeKubeconfig } from '../servers/kubeconfig.ts';
import { PROGRAM } from '../servers/plugin.ts';
import { type RunningProcess, startServer } from '../servers/process.ts';
import type { Vault } from '../servers/vault.ts';
import { transitPolicy } from '../servers/vault-admin.ts';
import { startTlsVault, testFolder } from '../vault/vault-under-test.ts';
import { documentBlocks, type NodeFolder, nodeFolder } from './document.ts';

type Page = {
  readonly file: string;
  readonly kind: EarlierKind;
  readonly api: 'v1' | 'v2';
  readonly name: string;
  /** The folder and the socket of the earlier plugin, as the page has them. */
  readonly socket: string;
  readonly key: string;
  /** What a node with the earlier plugin has, by the path in the page. */
  readonly files: (facts: {
    readonly address: string;
    readonly token: string;
  }) => Readonly<Record<string, string>>;
};

const PAGES: readonly Page[] = [
  {
    file: 'trousseau-1.md',
    kind: 'trousseau-1',
    api: 'v1',
    name: 'vaultprovider',
    socket: '/opt/trousseau-kms/trousseau.socket',
    key: 'vault-kms-demo',
    files: ({ address, token }) => ({
      '/opt/trousseau/config.yaml': `---\nprovider: vault\nvault:\n  keynames:\n  -  vault-kms-demo\n  address: ${address}\n  token: ${token}\n  vaultCACert: /etc/trousseau/ca.pem\n`,
    }),
  },
  {
    file: 'vault-kubernetes-kms.md',
    kind: 'vault-kubernetes-kms',
    api: 'v2',
    name: 'vault-kubernetes-kms',
    socket: '/opt/kms/vaultkms.socket',
    key: 'kms',
    files: ({ address, token }) => ({
      '/etc/kubernetes/manifests/vault-kubernetes-kms.yaml': `apiVersion: v1
kind: Pod
metadata: {name: vault-kubernetes-kms, namespace: kube-system}
spec:
  containers:
    - name: vault-kubernetes-kms
      command:
        - /vault-kubernetes-kms
        - -vault-address=${address}
        - -vault-ca-cert=/etc/trousseau/ca.pem
        - -auth-method=token
        - -token=${token}
`,
    }),
  },
  {
    file: 'kleidi.md',
    kind: 'kleidi',
    api: 'v2',
    name: 'kleidi-kms-plugin',
    socket: '/tmp/kleidi/kleidi-kms-plugin.socket',
    key: 'kleidi',
    files: () => ({}),
  },
  {
    file: 'kms-v1-to-v2.md',
    kind: 'another',
    api: 'v1',
    name: 'earlier',
    socket: '/var/run/kmsplugin/kms.sock',
    key: 'kubernetes',
    files: () => ({}),
  },
];
const START_MS = 20_000;
const SECRETS = 3;
/** What the policy of the earlier token allows beside its key. */
const ALSO_ALLOWED = 'path "transit/encrypt/another" { capabilities = ["update"] }';
const ONLY_OURS = /^ *\d+ k8s:enc:kms:v2:trousseau:$/;

const folder = testFolder();
let vault: Vault;
let ca: string;
let etcd: Etcd;
let api: KubeApiserver;

async function startServers(): Promise<void> {
  const dir = mkdtempSync(join(folder.path, 'servers-'));
  const started = await startTlsVault(dir);
  ca = started.authority.ca;
  vault = started.vault;
  const { admin } = vault;
  await admin.enableSecrets('transit');
  etcd = await startEtcd({ dir });
  api = await startKubeApiserver({
    dir,
    etcd: etcd.endpoint,
    featureGates: { KMSv1: true },
    providers: [IDENTITY],
  });
}

async function stopServers(): Promise<void> {
  await api?.stop();
  await etcd?.stop();
  await vault?.stop();
}

after(() => folder.remove());

describe('the pages on leaving another plugin', { timeout: 600_000 }, () => {
  before(startServers);
  after(stopServers);

  for (const [i, page] of PAGES.entries()) {
    it(`leads through with every Secret readable at each step: ${page.file}`, async (t) => {
      const node = await prepared(page, String(i));
      const earlier = await startEarlierPlugin(
        page.kind,
        node.here(page.socket),
        vault.admin,
        page.key,
      );
      t.after(() => earlier.stop());
      await etcd.deletePrefix('/registry/secrets/'); // of the page before, which may have failed
      await api.restart([entryOf(page, node.here(page.socket)), IDENTITY], { KMSv1: true });
      for (let n = 0; n < SECRETS; n += 1) await api.secrets.create(`before-${n}`, `value ${n}`);
      assert.match(await stored('before-0'), new RegExp(`^k8s:enc:kms:${page.api}:${page.name}:`));
      const { plugin, counts } = await followed(page, node, earlier);
      t.after(() => plugin?.stop());

      assert.equal(counts.length, 1);
      assert.match(counts[0] ?? '', ONLY_OURS, 'what is left of the earlier plugin');
      if (page.kind === 'trousseau-1')
        assert.ok((await node.shell('vault policy read trousseau')).includes(ALSO_ALLOWED));
      await api.restart(undefined, {}); // without the gate of KMS v1
      for (let n = 0; n < SECRETS; n += 1) {
        assert.equal(await api.secrets.read(`before-${n}`), `value ${n}`);
        assert.match(await stored(`before-${n}`), /^k8s:enc:kms:v2:trousseau:/);
      }
    });
  }
});

describe('the way back', { timeout: 300_000 }, () => {
  before(startServers);
  after(stopServers);

  // The strictest of them, which decrypts nothing that another plugin has written, and one of KMS v1.
  for (const [i, kind] of (['kleidi', 'trousseau-1'] as const).entries())
    it(`from step 6 leads to the earlier plugin, as the page says: ${kind}`, async (t) => {
      const page = PAGES.find((each) => each.kind === kind);
      assert.ok(page);
      const node = await prepared(page, `back-${i}`);
      const socket = node.here(page.socket);
      const earlier = await startEarlierPlugin(page.kind, socket, vault.admin, page.key);
      t.after(() => earlier.stop());
      const scripts = documentBlocks(`docs/migration/${page.file}`).map(({ text }) => text);
      const [third = '', fourth = '', sixth = ''] = scripts.filter((text) =>
        text.includes('kind: EncryptionConfiguration'),
      );
      const [rewrite = '', count = ''] = scripts.filter((text) =>
        /^(?:kubectl get secrets|etcdctl)/.test(text),
      );
      for (const text of scripts.filter((one) => /^(?:umask|vault)|kind: KMSPlugin/.test(one))) {
        if (/^(?:umask|vault)/.test(text)) await node.shell(text);
        else writeFileSync(join(node.dir, 'etc/config.yaml'), text);
      }
      const plugin = await started(node);
      t.after(() => plugin.stop());
      const gates = page.api === 'v1' ? { KMSv1: true } : {};
      const use = async (text: string, also = gates): Promise<void> => {
        writeFileSync(api.configFile, node.here(text));
        await api.restart(undefined, also);
      };
      await etcd.deletePrefix('/registry/secrets/');
      await use(sixth, {});
      await api.secrets.create('forth', 'and back');
      assert.match(await node.shell(count), /^ *1 k8s:enc:kms:v2:trousseau:$/m);
      await use(fourth);
      await use(third);
      assert.equal(await api.secrets.read('forth'), 'and back');
      await node.shell(rewrite);
      const left = await node.shell(count);
      assert.match(left, new RegExp(`^ *1 k8s:enc:kms:${page.api}:${page.name}:$`, 'm'));
      assert.doesNotMatch(left, /trousseau:/);
      await plugin.stop();
      await api.restart([entryOf(page, socket), IDENTITY], gates);
      assert.equal(await api.secrets.read('forth'), 'and back');
    });
});

/** A node with what the earlier plugin has there, and a key and a token of its own in Vault. */
async function prepared(page: Page, dirName: string): Promise<NodeFolder> {
  const { admin } = vault;
  const dir = folder.sub(dirName);
  const old = join(dir, 'old');
  mkdirSync(old);
  const kubeconfig = join(dir, 'kubeconfig');
  writeKubeconfig(kubeconfig, api);
  if (page.kind !== 'another') await admin.createKey(page.key);
  await admin.disableAuth('approle');
  if (page.kind === 'another') await admin.enableAuth('approle');
  // Trousseau 1.x comes without read.
  const policy = page.kind === 'kleidi' ? 'kleidi' : 'trousseau';
  const lines = transitPolicy(page.key).split('\n');
  await admin.writePolicy(
    policy,
    (page.kind === 'trousseau-1' ? [...lines.slice(0, 2), ALSO_ALLOWED] : lines).join('\n'),
  );
  const token = await admin.createToken({ policies: [policy], period: '1h' });
  const files = page.files({ address: vault.address, token });
  const replaced = Object.fromEntries(
    [...Object.keys(files), page.socket].map((path) => [
      path,
      join(old, path.split('/').at(-1) ?? ''),
    ]),
  );
  const node = nodeFolder({
    dir,
    vault: { address: vault.address, token: admin.token, caFile: join(dir, 'etc/ca.pem') },
    kubeconfig,
    etcd: etcd.endpoint,
    replaced: {
      ...replaced,
      'https://NODE:6443': api.address,
      '/etc/kubernetes/encryption.yaml': api.configFile,
    },
  });
  writeFileSync(join(dir, 'etc/ca.pem'), ca);
  for (const [path, text] of Object.entries(files)) writeFileSync(node.here(path), node.here(text));
  return node;
}

/** Does what the page says, block by block, and reads everything after each change of kube-apiserver. */
async function followed(
  page: Page,
  node: NodeFolder,
  earlier: EarlierPlugin,
): Promise<{ readonly plugin: RunningProcess | undefined; readonly counts: readonly string[] }> {
  const blocks = documentBlocks(`docs/migration/${page.file}`);
  const counts: string[] = [];
  let plugin: RunningProcess | undefined;
  let step = 0;
  try {
    for (const { language, text } of blocks) {
      if (language === 'sh') {
        if (text.includes('systemctl enable')) plugin = await started(node);
        const said = await node.shell(text);
        if (text.startsWith('curl')) assert.match(said, /"status":"ok"/);
        if (text.includes('last_config_info'))
          assert.match(said, /^([0-9a-f]{64})\n\1\n$/, 'the file in use, and that on the disk');
        if (text.startsWith('etcdctl')) {
          counts.push(said.trimEnd());
          if (page.kind !== 'another') await earlier.stop();
        }
      } else if (text.includes('kind: EncryptionConfiguration')) {
        writeFileSync(api.configFile, node.here(text));
        await api.restart();
        step += 1;
        await api.secrets.create(`in-step-${step}`, `step ${step}`);
        const writes = step === 1 ? `${page.api}:${page.name}` : 'v2:trousseau';
        assert.match(await stored(`in-step-${step}`), new RegExp(`^k8s:enc:kms:${writes}:`));
        assert.equal((await api.secrets.list()).length, SECRETS + step);
      } else {
        writeFileSync(join(node.dir, 'etc/config.yaml'), node.here(text));
      }
    }
    assert.equal(step, 3);
    return { plugin, counts };
  } catch (error) {
    await plugin?.stop();
    throw error;
  }
}

/** As the unit starts it, but with the paths and sockets of the test's folder in its configuration. */
async function started(node: NodeFolder): Promise<RunningProcess> {
  const file = join(node.dir, 'etc/config.yaml');
  const sockets =
    'listen: {socket: /run/trousseau/kms.sock}\nadmin: {socket: /run/trousseau/admin.sock}\n';
  writeFileSync(file, node.here(`${readFileSync(file, 'utf8')}\n${sockets}`));
  return await startServer(
    { program: PROGRAM, args: ['serve', '--config', file], logFile: join(node.dir, 'plugin.log') },
    START_MS,
    async () =>
      (
        await node.shell(
          'curl --silent --unix-socket /run/trousseau/admin.sock http://localhost/livez',
        )
      ).includes('ok'),
  );
}

function entryOf({ api: version, name }: Page, socket: string) {
  return { kms: { apiVersion: version, name, endpoint: `unix://${socket}` } };
}

async function stored(name: string): Promise<string> {
  return String(await etcd.range(`/registry/secrets/default/${name}`));
}
