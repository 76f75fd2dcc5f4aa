/** docs/operations.md and docs/local-keyring.md: a change to another key, until nothing needs the earlier one. */
import assert from 'node:assert/strict';
import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { replaceConfig } from '../daemon/changed-config.ts';
import { askAdmin, trousseau } from '../daemon/program.ts';
import {
  type EncryptionProvider,
  IDENTITY,
  kmsProvider,
} from '../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import { writeKubeconfig } from '../servers/kubeconfig.ts';
import { startPlugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { testFolder } from '../vault/vault-under-test.ts';
import { documentBlocks, encryptedOrNot, nodeFolder } from './document.ts';

const WAIT_MS = 120_000;
const SECRETS = 3;
const EARLIER = /^ *\d+ local:v1:/m;

/** The first command of the document that begins so. */
function command(start: string): string {
  const found = documentBlocks('docs/operations.md').find(
    ({ language, text }) => language === 'sh' && text.startsWith(start),
  );
  assert.ok(found, start);
  return found.text;
}

const REPLACE = command('kubectl get secrets --all-namespaces');
const CHANGE = command('kubectl annotate secrets');
const COUNT = documentBlocks('docs/operations.md').find(({ text }) =>
  text.includes("-e '(vault|local)"),
);

const READY = documentBlocks('docs/install-offline.md').find(({ text }) => /^until /m.test(text));
/** Values as kube-apiserver stores them, by what the commands must print of each. */
const STORED: readonly (readonly [string, string])[] = [
  ['k8s:enc:kms:v1:one:', '\0\x59vault:v1:AAAA'],
  ['k8s:enc:kms:v2:two:', '\x0a\x59\n\xff'],
  ['k8s:enc:aescbc:v1:key1:', '\xff\0'],
  ['k8s:enc:aesgcm:v1:key1:', '\xfe'],
  ['k8s:enc:secretbox:v1:key1:', '\x80'],
];

describe('the commands that count what lies in etcd', { timeout: 60_000 }, () => {
  const folder = testFolder();

  after(() => folder.remove());

  it('show what each provider of the EncryptionConfiguration has encrypted, and what is in clear', async () => {
    await using etcd = await startEtcd({ dir: folder.sub('etcd') });
    for (const [prefix, rest] of STORED)
      await etcd.put(`/registry/secrets/${prefix}`, Buffer.from(prefix + rest, 'latin1'));
    await etcd.put('/registry/secrets/clear', Buffer.from('k8s\0\x0a\x0c', 'latin1'));
    const node = nodeFolder({
      dir: folder.sub('node'),
      vault: { address: '', token: '', caFile: '' },
      ...{ kubeconfig: '', etcd: etcd.endpoint },
    });
    const pages = ['trousseau-1', 'vault-kubernetes-kms', 'kleidi', 'kms-v1-to-v2'];
    for (const page of [
      'operations',
      'install-offline',
      ...pages.map((each) => `migration/${each}`),
    ]) {
      const counts = documentBlocks(`docs/${page}.md`).filter(
        ({ text }) => text.startsWith('etcdctl get /registry/ ') && !text.includes('local-kek'),
      );
      assert.equal(counts.length, 1, page);
      const said = await node.shell(counts[0]?.text ?? '');
      for (const [prefix] of STORED) assert.match(said, new RegExp(`^ *1 ${prefix}$`, 'm'), page);
      if (page === 'install-offline') assert.match(said, /^ *1 k8s$/m);
    }
  });

  it('show which Secrets are encrypted, and by whom, and which are in clear', async () => {
    await using etcd = await startEtcd({ dir: folder.sub('etcd-of-secrets') });
    await etcd.put('/registry/secrets/a', Buffer.from('k8s:enc:kms:v2:trousseau:\0\nk8', 'latin1'));
    await etcd.put('/registry/secrets/b', Buffer.from('k8s\0\nk8s:enc:kms:v2\n', 'latin1'));
    await etcd.put('/registry/configmaps/c', Buffer.from('k8s\0', 'latin1'));
    const node = nodeFolder({
      dir: folder.sub('node-of-secrets'),
      vault: { address: '', token: '', caFile: '' },
      ...{ kubeconfig: '', etcd: etcd.endpoint },
    });
    const said = await node.shell(encryptedOrNot());
    assert.match(said, /^ *1 k8s:enc:kms:v2:trousseau:$/m);
    assert.match(said, /^ *[12] k8s$/m);
    assert.doesNotMatch(said, /\{/);
    await etcd.deletePrefix('/registry/secrets/b');
    // Custom resources lie there as JSON, and all that kube-apiserver stores with --storage-media-type=application/json.
    for (const [name, object] of [
      ['d', { apiVersion: 'example.com/v1', kind: 'Widget' }],
      ['e', { kind: 'Secret', apiVersion: 'v1' }],
    ] as const)
      await etcd.put(`/registry/secrets/${name}`, Buffer.from(`${JSON.stringify(object)}\n`));
    assert.match(await node.shell(encryptedOrNot()), /^ *1 k8s:enc:kms:v2:trousseau:$/m);
    assert.match(await node.shell(encryptedOrNot()), /^ *1 \{"apiVersion":$/m);
    assert.match(await node.shell(encryptedOrNot()), /^ *1 \{"kind":$/m);
    for (const name of ['d', 'e']) await etcd.deletePrefix(`/registry/secrets/${name}`);
    assert.match(await node.shell(encryptedOrNot()), /^ *1 k8s:enc:kms:v2:trousseau:\n$/);
  });
});

describe('the command that shows what is lost with a key', { timeout: 60_000 }, () => {
  const folder = testFolder();

  after(() => folder.remove());

  it('prints the keys of the objects that have the lost key_id, and of no others', async () => {
    const lost = 'vault:v2:5f0c2b1d3e4f5a6b7c8d9e0f1a2b3c4d';
    const stored = (keyId: string): Buffer =>
      Buffer.from(
        `k8s:enc:kms:v2:trousseau:\n\x60\0\xff\n\x12\x29${keyId}\x1a\x80vault:v2:AAAA`,
        'latin1',
      );
    await using etcd = await startEtcd({ dir: folder.sub('etcd') });
    for (const [name, keyId] of [
      ['default/written-again', lost.replace('5f0c', '5f0d')],
      ['default/lost', lost],
      ['kube-system/bootstrap-token-x.1', lost],
      ['kube-system/earlier', lost.replace('v2', 'v1')],
    ] as const)
      await etcd.put(`/registry/secrets/${name}`, stored(keyId));
    const node = nodeFolder({
      dir: folder.sub('node'),
      vault: { address: '', token: '', caFile: '' },
      ...{ kubeconfig: '', etcd: etcd.endpoint },
      replaced: { ' > /run/lost-keys': '' },
    });
    const print = command('etcdctl get /registry/secrets/ --prefix |');
    assert.equal(
      await node.shell(print),
      '/registry/secrets/default/lost\n/registry/secrets/kube-system/bootstrap-token-x.1\n',
    );
    // Names of other kinds have colons and capitals; the one before it is not lost.
    const role = '/registry/clusterroles/system:node:Proxier';
    await etcd.put('/registry/clusterroles/admin', stored(lost.replace('v2', 'v1')));
    await etcd.put(role, stored(lost));
    assert.equal(await node.shell(print.replaceAll('/secrets/', '/clusterroles/')), `${role}\n`);
  });
});

describe('a change to another keyring', { timeout: 480_000 }, () => {
  const folder = testFolder();
  let etcd: Etcd;
  let started: KubeApiserver | undefined;

  /** With these providers alone. */
  const withProviders = async (
    providers: readonly EncryptionProvider[],
  ): Promise<KubeApiserver> => {
    const dir = join(folder.path, 'servers');
    const featureGates = { KMSv1: true };
    if (started === undefined)
      started = await startKubeApiserver({ dir, etcd: etcd.endpoint, featureGates, providers });
    else await started.restart(providers, featureGates);
    return started;
  };

  before(async () => {
    etcd = await startEtcd({ dir: folder.sub('servers') });
  });
  after(async () => {
    await started?.stop();
    await etcd?.stop();
    folder.remove();
  });

  for (const [version, command] of [
    ['v1', CHANGE],
    ['v2', REPLACE],
  ] as const)
    it(`leaves nothing under the earlier one after the command for KMS ${version}`, async () => {
      const dir = folder.sub(version);
      const [one, two] = [join(dir, 'one.json'), join(dir, 'two.json')];
      for (const file of [one, two]) await trousseau('keyring', 'init', file);
      await trousseau('keyring', 'rotate', two); // so that v1 shows which of them it was
      const providers = [
        { name: 'two', local: { keyringFile: two } },
        { name: 'one', local: { keyringFile: one } },
      ];
      await using plugin = await startPlugin({ dir, config: { providers: providers.slice(1) } });
      await plugin.ready();
      await etcd.deletePrefix('/registry/secrets/');
      const api = await withProviders([kmsProvider(version, plugin.socket), IDENTITY]);
      const kubeconfig = join(dir, 'kubeconfig');
      writeKubeconfig(kubeconfig, api);
      const node = nodeFolder({
        dir: join(dir, 'node'),
        vault: { address: '', token: '', caFile: '' },
        ...{ kubeconfig, etcd: etcd.endpoint },
        replaced: { '/etc/kubernetes/admin.conf': kubeconfig },
      });
      await node.shell(READY?.text ?? '');
      let secrets = 0;
      for (; secrets < SECRETS; secrets += 1)
        await api.secrets.create(`s-${secrets}`, `value ${secrets}`);
      const use = async (change: object): Promise<void> => {
        const asked = Date.now();
        replaceConfig(dir, change);
        await waitUntil('it is taken', WAIT_MS, async () => {
          const { body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
          const { at = '', ok } = body['reload'] as { readonly at?: string; readonly ok?: boolean };
          return ok === true && Date.parse(at) >= asked;
        });
      };
      await use({ providers, write: ['two'] });
      await waitUntil('a new Secret is under the new key', WAIT_MS, async () => {
        await api.kmsHealth(); // has kube-apiserver ask for Status
        const name = `s-${secrets}`;
        await api.secrets.create(name, `value ${secrets}`);
        secrets += 1;
        return String(await etcd.range(`/registry/secrets/default/${name}`)).includes('local:v2:');
      });
      assert.match(await node.shell(COUNT?.text ?? ''), EARLIER);
      if (version === 'v1') {
        assert.match(await node.shell(REPLACE), /s-0 replaced/);
        assert.match(await node.shell(COUNT?.text ?? ''), EARLIER, 'not with that of KMS v2');
      }
      await node.shell(command);
      const left = await node.shell(COUNT?.text ?? '');
      assert.doesNotMatch(left, EARLIER);
      assert.match(left, new RegExp(`^ *${secrets} k8s:enc:kms:${version}:trousseau:$`, 'm'));
      if (version === 'v2') {
        const { key_id } = await plugin.client.v2.status();
        assert.match(left, new RegExp(`^ *${secrets} ${key_id}$`, 'm'));
      }
      await use({ providers: providers.slice(0, 1) });
      await api.restart(undefined, { KMSv1: true });
      for (let i = 0; i < secrets; i += 1)
        assert.equal(await api.secrets.read(`s-${i}`), `value ${i}`);

      // The keyring is lost without a copy: docs/local-keyring.md, "Back it up".
      const three = join(dir, 'three.json');
      const lost = (await plugin.client.v2.status()).key_id;
      unlinkSync(two);
      await trousseau('keyring', 'init', three);
      const health = { acknowledgedLosses: [lost] };
      await use({ providers: [{ name: 'three', local: { keyringFile: three } }], health });
      await waitUntil('kube-apiserver encrypts with the new one', WAIT_MS, async () => {
        await api.kmsHealth();
        await node.shell(CHANGE);
        return !(await node.shell(COUNT?.text ?? '')).includes('local:v2:');
      });
      await api.restart(undefined, { KMSv1: true });
      for (let i = 0; i < secrets; i += 1)
        assert.equal(await api.secrets.read(`s-${i}`), `value ${i}`);
    });
});
