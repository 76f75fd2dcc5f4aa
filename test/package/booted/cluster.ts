/**
 * A real kube-apiserver with its etcd and a real Vault, over TLS, on the machine's loopback; the plugin
 * between them is the installed package, in the sandbox of its unit, as steps 4 to 6 of
 * docs/install-offline.md have it, and then with its secret id as a credential of systemd.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { promisify } from 'node:util';
import { testServers } from '../../../scripts/test-servers/binaries.ts';
import {
  type EncryptionProvider,
  IDENTITY,
  kmsProvider,
} from '../../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../../servers/kube-apiserver.ts';
import { writeKubeconfig } from '../../servers/kubeconfig.ts';
import {
  CONFIG,
  journal,
  MEMBER,
  owned,
  PLUGIN,
  property,
  READY_MS,
  SERVICE,
  SOCKET,
  SOCKET_UNIT,
  saysOfItself,
  systemctl,
  writeConfig,
  writeDropIn,
} from '../installation.ts';
import { commandOf } from '../offline-document.ts';
import { needBuilt } from '../servers-built.ts';
import {
  CA,
  ROLE_ID,
  SECRET_ID,
  startVaultOfNode,
  typeStep4,
  type VaultOfNode,
} from '../vault-of-node.ts';
import { mayRead, type UnderTest } from './under-test.ts';

const PREFIX = 'k8s:enc:kms:v2:trousseau:';
const SECRETS = 10;
const KUBECTL_MS = 60_000;
const STEP_6 = '## 6. Encrypt what is already there';
const ENCRYPTED = '/etc/trousseau/secret-id.cred';
const BEFORE = { name: 'before', content: 'written in clear' } as const;
const run = promisify(execFile);

const nameOf = (i: number): string => `secret-${i}`;
const contentOf = (i: number): string => `the value of secret ${i}`;

/** Throws where a server was not built. */
export function needServers(): void {
  needBuilt(['etcd', 'kube-apiserver', 'kubectl', 'vault-newest']);
}

/** Needs an installed package that is switched off; leaves it so, and with Vault in its configuration. */
export function cluster(under: UnderTest, dir: string): void {
  let ofNode: VaultOfNode;
  let etcd: Etcd;
  let api: KubeApiserver;
  after(async () => {
    await api?.stop();
    await etcd?.stop();
    await ofNode?.vault.stop();
  });
  const plugin = (): EncryptionProvider => kmsProvider('v2', join(under.machine.root, SOCKET));
  const readAll = async (): Promise<void> => {
    for (let i = 0; i < SECRETS; i += 1)
      assert.equal(await api.secrets.read(nameOf(i)), contentOf(i));
  };
  const storedOf = async (name: string): Promise<Buffer> => {
    const value = await etcd.range(`/registry/secrets/default/${name}`);
    assert.ok(value, `${name} is in etcd`);
    return value;
  };
  const assertEncrypted = async (name: string, content: string): Promise<void> => {
    const value = await storedOf(name);
    assert.equal(value.subarray(0, PREFIX.length).toString(), PREFIX);
    assert.equal(value.includes(content), false);
    assert.equal(value.includes(Buffer.from(content).toString('base64')), false);
  };
  const assertClear = async (name: string, content: string): Promise<void> =>
    assert.ok((await storedOf(name)).includes(content), `${name} is in clear`);
  /** As whoever administers the cluster, wherever that is. */
  const administer = async (commands: string): Promise<void> => {
    const [bin, config] = [join(dir, 'bin'), join(dir, 'kubeconfig')];
    const env = { HOME: dir, KUBECONFIG: config, PATH: `${bin}:${process.env['PATH']}` };
    await run('/bin/sh', ['-ec', commands], { env, timeout: KUBECTL_MS });
  };

  it('is configured and started by step 4 of the document, and says that it is ready', async () => {
    const { machine } = under;
    const servers = join(dir, 'servers');
    mkdirSync(servers);
    ofNode = await startVaultOfNode(servers);
    await typeStep4(machine, ofNode, READY_MS);
    for (const file of [CONFIG, ROLE_ID, SECRET_ID, CA]) {
      assert.equal(await owned(machine, file), '640 root:trousseau');
      assert.equal(await mayRead(machine, file, MEMBER), false);
    }
  });

  it('logs in to Vault with a secret id that systemd hands to it, whose file it may not read', async () => {
    const { machine } = under;
    await machine.must(['chown', 'root:root', SECRET_ID]);
    await machine.must(['chmod', '0600', SECRET_ID]);
    const identity = `roleID: ${ofNode.role.roleId}, secretIDFile: 'credential:secret-id'`;
    await writeConfig(machine, ofNode.config(identity));
    await writeDropIn(machine, [`LoadCredential=secret-id:${SECRET_ID}`]);
    await systemctl(machine, 'restart', SERVICE);
    await saysOfItself(machine, /^ready, encrypting with vault:v1:/);
    assert.equal(await owned(machine, SECRET_ID), '600 root:root');
    assert.equal(await mayRead(machine, SECRET_ID, PLUGIN), false);
    const credential = '/run/credentials/trousseau.service/secret-id';
    assert.equal(await mayRead(machine, credential, MEMBER), false);
  });

  it('Secrets are written and read through it, and lie encrypted in etcd', async () => {
    const servers = join(dir, 'servers');
    etcd = await startEtcd({ dir: servers });
    api = await startKubeApiserver({ dir: servers, etcd: etcd.endpoint });
    await api.secrets.create(BEFORE.name, BEFORE.content);
    await api.restart([plugin(), IDENTITY]);
    for (let i = 0; i < SECRETS; i += 1) await api.secrets.create(nameOf(i), contentOf(i));
    await readAll();
    for (let i = 0; i < SECRETS; i += 1) await assertEncrypted(nameOf(i), contentOf(i));
  });

  it('step 6 of the document encrypts what was written in clear before', async () => {
    mkdirSync(join(dir, 'bin'));
    symlinkSync(testServers().kubectl, join(dir, 'bin/kubectl'));
    writeKubeconfig(join(dir, 'kubeconfig'), api);
    await assertClear(BEFORE.name, BEFORE.content);
    await administer(commandOf(STEP_6));
    await assertEncrypted(BEFORE.name, BEFORE.content);
    assert.equal(await api.secrets.read(BEFORE.name), BEFORE.content);
    await readAll();
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

  it('step 6 decrypts everything before a removal, and kube-apiserver reads it without the plugin', async () => {
    await api.restart([IDENTITY, plugin()]);
    await administer(commandOf(STEP_6));
    await api.restart([IDENTITY]);
    await assertClear(BEFORE.name, BEFORE.content);
    for (let i = 0; i < SECRETS; i += 1) await assertClear(nameOf(i), contentOf(i));
    await readAll();
  });

  it('neither secret id nor plaintext is in the journal', async () => {
    const { machine } = under;
    await api.stop();
    await systemctl(machine, 'disable', '--now', SOCKET_UNIT, SERVICE);
    const lines = (await journal(machine, SERVICE)).join('\n');
    assert.match(lines, /"msg":"key announced"/);
    assert.ok(!lines.includes(ofNode.role.secretId));
    assert.ok(!lines.includes('the value of secret'));
    assert.equal(await property(machine, SERVICE, 'Result'), 'success');
  });
}
