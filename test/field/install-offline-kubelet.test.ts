/**
 * docs/install-offline.md from its second step to its last, as it is written, on a control-plane node with
 * kubelet, containerd, and a kernel of its own; Vault is on the other side of its network.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { writeInside } from '../package/installation.ts';
import { ADDED, addedIn, EDITOR, EDITOR_SCRIPT } from '../package/kubeadm-edit.ts';
import { commandOf, commandsOf, typed } from '../package/offline-document.ts';
import { inOwnNamespaces } from '../package/own-namespaces.ts';
import { realRelease } from '../package/packages-built.ts';
import { typeStep4 } from '../package/vault-of-node.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  apiServerIsUp,
  layKubernetes,
  NODE_PACKAGES,
  needKubernetes,
  startControlPlane,
} from './vm/kubeadm-node.ts';
import { nodeWithVault, prepareNodeWithVault, READY_MS, VERSION } from './vm/node-with-vault.ts';

const PACKAGES = [...NODE_PACKAGES, 'gnupg'];
const CLUSTER = 'export KUBECONFIG=/etc/kubernetes/admin.conf\n';
/** Twice of what it takes on an emulated processor that others use too. */
const STEP_MS = 1_800_000;
const PREFIX = 'k8s:enc:kms:v2:trousseau:';

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needKubernetes();
  prepareNodeWithVault({ packages: PACKAGES });
}

function lay(root: string): void {
  layKubernetes(root);
  mkdirSync(join(root, 'media/stick'), { recursive: true });
  cpSync(realRelease(VERSION).folder, join(root, 'media/stick/release'), { recursive: true });
}

function declare(): void {
  describe('a cluster of kubeadm, from the stick to encrypted Secrets', () => {
    const under = nodeWithVault({ distribution: { packages: PACKAGES }, lay });
    const type = (commands: string): Promise<string> => under.machine.must(typed(commands));
    const write = (name: string): Promise<string> =>
      type(`${CLUSTER}kubectl create secret generic ${name} --from-literal=text='text of ${name}'`);
    const read = async (name: string): Promise<string> => {
      const ask = `kubectl get secret ${name} -o jsonpath='{.data.text}'`;
      return Buffer.from(await type(CLUSTER + ask), 'base64').toString();
    };
    /** The loop of the document, begun again where one call of the machine may take no longer. */
    const waitAsDocumented = (): Promise<void> =>
      waitUntil('kube-apiserver is ready', STEP_MS, async () => {
        await type(commandOf('### Before the next node, and before step 6'));
        return true;
      });
    /** What etcd has, asked as kube-apiserver asks. */
    const stored = async (name: string): Promise<string> => {
      const key = Buffer.from(`/registry/secrets/default/${name}`).toString('base64');
      const pki = '/etc/kubernetes/pki';
      const pair = `--cert ${pki}/apiserver-etcd-client.crt --key ${pki}/apiserver-etcd-client.key`;
      const answer = await type(
        `curl -sS --cacert ${pki}/etcd/ca.crt ${pair} https://127.0.0.1:2379/v3/kv/range -d '{"key":"${key}"}'`,
      );
      const { kvs } = JSON.parse(answer) as { readonly kvs: readonly [{ readonly value: string }] };
      return Buffer.from(kvs[0].value, 'base64').toString('latin1');
    };

    it('there is a cluster, with a Secret in clear', async () => {
      await startControlPlane(under.machine);
      await write('before');
      assert.match(await stored('before'), /text of before/);
    });

    it('steps 2 and 3: the stick is checked, and apt installs from it', async () => {
      await type(commandOf('## 2. Check it, on the node'));
      await type(commandsOf('## 3. Install')[0] ?? '');
    });

    it('step 4: the plugin is started, and says that it is ready', async () => {
      await typeStep4(under.machine, under.ofNode, READY_MS);
    });

    it('step 5: the kubelet starts kube-apiserver anew, and it takes the plugin for healthy', async () => {
      await apiServerIsUp(under.machine);
      await type(commandsOf('## 5. kube-apiserver')[0] ?? '');
      await writeInside(under.machine, ADDED, addedIn('v1beta4'), 0o644);
      await writeInside(under.machine, EDITOR, EDITOR_SCRIPT, 0o755);
      const [edit = '', rewrite = ''] = commandsOf('### kubeadm');
      await type(`export KUBE_EDITOR=${EDITOR}\n${edit}`);
      await type(rewrite);
      await waitAsDocumented();
      await write('after');
      assert.ok((await stored('after')).startsWith(PREFIX));
      assert.equal(await read('after'), 'text of after');
    });

    it('step 6: what was there before is encrypted', async () => {
      assert.match(await stored('before'), /text of before/);
      await waitAsDocumented();
      // The document says to run it again where it fails: kubelet may restart kube-apiserver meanwhile.
      await waitUntil('step 6', STEP_MS, async () => {
        await type(CLUSTER + commandOf('## 6. Encrypt what is already there'));
        return true;
      });
      assert.ok((await stored('before')).startsWith(PREFIX));
      assert.equal(await read('before'), 'text of before');
    });

    it('after a reboot all of it is there again, and nobody had to do anything', async () => {
      await under.machine.reboot();
      await apiServerIsUp(under.machine, '/kms-providers');
      await apiServerIsUp(under.machine);
      for (const name of ['before', 'after']) assert.equal(await read(name), `text of ${name}`);
    });
  });
}
