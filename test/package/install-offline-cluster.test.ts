/**
 * docs/install-offline.md, step 5, as it is written: with kubeadm itself, and with the parser by which
 * k3s and RKE2 read their configuration.
 */
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parse } from 'yaml';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { startEtcd } from '../servers/etcd.ts';
import { startKubeApiserver } from '../servers/kube-apiserver.ts';
import { writeKubeconfig } from '../servers/kubeconfig.ts';
import { ROOT } from './executable.ts';
import { ADDED, addedIn, EDITOR, EDITOR_SCRIPT, type Form } from './kubeadm-edit.ts';
import { commandOf, commandsOf } from './offline-document.ts';
import { must, nodeWithStick, prepareNode } from './offline-node.ts';
import { ELSEWHERE, inOwnNamespaces } from './own-namespaces.ts';
import type { Tree } from './packages-tree.ts';
import { needBuilt } from './servers-built.ts';

const ENCRYPTION = '/etc/kubernetes/encryption.yaml';
const FLAG = `encryption-provider-config=${ENCRYPTION}`;
const MANIFEST = '/etc/kubernetes/manifests/kube-apiserver.yaml';

/** What kubeadm keeps of a cluster, in one of its forms. */
const clusterIn = (api: string): string => `apiServer: {}
apiVersion: kubeadm.k8s.io/${api}
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
networking: {serviceSubnet: 10.97.0.0/16}
`;

/** A node with an address and a port that kubeadm would not take by itself. */
const NODE = `---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: ${ELSEWHERE}, bindPort: 6444}
`;

/** kubeadm's own ConfigMap, and one of an older kubeadm, whose form a new one reads and does not write. */
const UPLOADS = {
  v1beta4: 'kubeadm init phase upload-config kubeadm --config node.yaml --kubeconfig test.conf',
  v1beta3: `kubectl --kubeconfig test.conf -n kube-system create configmap kubeadm-config \\
  --from-file=ClusterConfiguration=cluster.yaml`,
} as const;

type Named = { readonly name: string };
type Pod = {
  readonly spec: {
    readonly containers: readonly [
      { readonly command: readonly string[]; readonly volumeMounts: readonly Named[] },
    ];
    readonly volumes: readonly Named[];
  };
};

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  prepareNode();
  needBuilt(['etcd', 'k3s-config', 'kube-apiserver', 'kubeadm', 'kubectl']);
}

/** A node with the package, and what stands in step 5 before it is about one of the distributions. */
function controlPlaneNode(t: TestContext, name: string): Tree {
  const node = nodeWithStick(t, name);
  const [installByApt = ''] = commandsOf('## 3. Install');
  must(node, installByApt);
  const [layFile = ''] = commandsOf('## 5. kube-apiserver');
  must(node, layFile);
  const example = readFileSync(join(ROOT, 'packaging/examples/encryption-configuration.yaml'));
  assert.deepEqual(readFileSync(node.path(ENCRYPTION)), example);
  assert.equal(statSync(node.path(ENCRYPTION)).mode & 0o7777, 0o600);
  // One that is there may hold a key.
  writeFileSync(node.path(ENCRYPTION), 'another');
  must(node, layFile);
  assert.equal(readFileSync(node.path(ENCRYPTION), 'utf8'), 'another');
  writeFileSync(node.path(ENCRYPTION), example);
  return node;
}

function bring(node: Tree, file: string, as: string): void {
  copyFileSync(file, node.path(`/usr/bin/${as}`));
  chmodSync(node.path(`/usr/bin/${as}`), 0o755);
}

/** The node as kubeadm has left it, in a cluster that has kubeadm's ConfigMap. */
async function byKubeadm(t: TestContext, node: Tree, form: Form): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'trousseau-'));
  const stopping = new AsyncDisposableStack();
  t.after(() => stopping.disposeAsync());
  stopping.defer(() => rmSync(dir, { recursive: true }));
  const etcd = stopping.use(await startEtcd({ dir }));
  const api = stopping.use(await startKubeApiserver({ dir, etcd: etcd.endpoint }));
  for (const name of ['kubeadm', 'kubectl'] as const) bring(node, testServers()[name], name);
  // Under two names: with the one that is its own, kubeadm goes to the address of the node.
  for (const file of ['/etc/kubernetes/admin.conf', '/root/test.conf'])
    writeKubeconfig(node.path(file), api);
  writeFileSync(node.path('/root/cluster.yaml'), clusterIn(form));
  writeFileSync(node.path('/root/node.yaml'), clusterIn('v1beta4') + NODE);
  must(
    node,
    `cd /root
kubeadm init phase control-plane apiserver --config node.yaml
${UPLOADS[form]}`,
  );
  writeFileSync(node.path(ADDED), addedIn(form));
  writeFileSync(node.path(EDITOR), EDITOR_SCRIPT, { mode: 0o755 });
}

function podOf(node: Tree, path: string): Pod {
  return parse(readFileSync(node.path(path), 'utf8')) as Pod;
}

/** The pod without what the document adds, and that. */
function apart({ spec, ...pod }: Pod): { readonly rest: Pod; readonly added: unknown } {
  const [{ command, volumeMounts, ...container }] = spec.containers;
  const ours = ({ name }: Named): boolean => name === 'encryption' || name === 'trousseau';
  const others = (entry: Named): boolean => !ours(entry);
  const rest = {
    ...container,
    command: command.filter((arg) => arg !== `--${FLAG}`),
    volumeMounts: volumeMounts.filter(others),
  };
  return {
    rest: {
      ...pod,
      spec: { ...spec, containers: [rest], volumes: spec.volumes.filter(others) },
    },
    added: {
      flags: command.filter((arg) => arg.includes('encryption')),
      mounts: volumeMounts.filter(ours),
      volumes: spec.volumes.filter(ours),
    },
  };
}

/** Types the block of k3s or RKE2, and answers what the program then finds in its configuration. */
function read(node: Tree, heading: string, program: string): unknown {
  // No systemd runs here that could restart it.
  must(node, `export SYSTEMD_OFFLINE=1\n${commandOf(heading)}`);
  const printed = must(node, `${program} server`);
  return JSON.parse(printed.split('\n').findLast((line) => line.startsWith('{')) ?? '');
}

function writeOwnConfiguration(node: Tree, program: string): void {
  mkdirSync(node.path(`/etc/rancher/${program}`), { recursive: true });
  const own =
    'kube-apiserver-arg:\n  - audit-log-maxage=30\nkube-apiserver-extra-mount: /srv/a:/a\n';
  writeFileSync(node.path(`/etc/rancher/${program}/config.yaml`), own);
}

function declare(): void {
  for (const form of ['v1beta4', 'v1beta3'] as const)
    test(`kubeadm adds the flag, the file and the folder of the socket to what it keeps as ${form}, and changes nothing else`, async (t) => {
      const node = controlPlaneNode(t, `kubeadm-${form}`);
      await byKubeadm(t, node, form);
      const before = podOf(node, MANIFEST);
      const [edit = '', rewrite = ''] = commandsOf('### kubeadm');
      assert.match(must(node, `export KUBE_EDITOR=${EDITOR}\n${edit}`), /kubeadm-config edited/);
      assert.match(must(node, rewrite), /^ok\n.*Creating static Pod manifest/ms);
      const { rest, added } = apart(podOf(node, MANIFEST));
      assert.deepEqual(rest, before);
      assert.deepEqual(added, {
        flags: [`--${FLAG}`],
        mounts: [
          { name: 'encryption', mountPath: ENCRYPTION, readOnly: true },
          { name: 'trousseau', mountPath: '/run/trousseau' },
        ],
        volumes: [
          { name: 'encryption', hostPath: { path: ENCRYPTION, type: 'File' } },
          { name: 'trousseau', hostPath: { path: '/run/trousseau', type: 'Directory' } },
        ],
      });
    });

  test('k3s and RKE2 add the flag, and RKE2 the folder of the socket, to what they have', (t) => {
    const node = controlPlaneNode(t, 'rancher');
    for (const program of ['k3s', 'rke2']) bring(node, testServers()['k3s-config'], program);
    assert.deepEqual(read(node, '### k3s', 'k3s'), { arguments: [FLAG], mounts: null });
    const folder = '/run/trousseau:/run/trousseau';
    assert.deepEqual(read(node, '### RKE2', 'rke2'), { arguments: [FLAG], mounts: [folder] });
    for (const program of ['k3s', 'rke2']) writeOwnConfiguration(node, program);
    const both = ['audit-log-maxage=30', FLAG];
    assert.deepEqual(read(node, '### k3s', 'k3s'), { arguments: both, mounts: null });
    const mounts = ['/srv/a:/a', folder];
    assert.deepEqual(read(node, '### RKE2', 'rke2'), { arguments: both, mounts });
  });
}
