/** The README's way from a Vault without a key to encrypted Secrets, its commands as they stand there. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { IDENTITY, kmsProvider } from '../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import { writeKubeconfig } from '../servers/kubeconfig.ts';
import { PROGRAM } from '../servers/plugin.ts';
import { type RunningProcess, startServer } from '../servers/process.ts';
import type { Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { startTlsVault, testFolder } from '../vault/vault-under-test.ts';
import { encryptedOrNot, layEtcdctl } from './document.ts';

const ROOT = join(import.meta.dirname, '../..');
const START_MS = 20_000;
const COMMAND_MS = 60_000;
const run = promisify(execFile);
const folder = testFolder();
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

/** The blocks of one language, without the indentation of the list that they are in. */
function blocks(language: 'sh' | 'yaml'): readonly string[] {
  const fence = new RegExp(`^( *)\`\`\`${language}\\n([\\s\\S]*?)^\\1\`\`\``, 'gm');
  return [...readme.matchAll(fence)].map(([, indent = '', text = '']) =>
    text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );
}

function block(language: 'sh' | 'yaml', holds: RegExp): string {
  const found = blocks(language).filter((text) => holds.test(text));
  assert.equal(found.length, 1, `${found.length} blocks of the README hold ${holds}`);
  return found[0] ?? '';
}

describe('the steps of the README', { timeout: 360_000 }, () => {
  const dir = folder.sub('node');
  let vault: Vault;
  let plugin: RunningProcess | undefined;
  let etcd: Etcd;
  let api: KubeApiserver;
  /** Of another control-plane node. */
  let other: KubeApiserver;

  /** What the README calls by the paths and names of a real node lies in the test's folder. */
  const here = (text: string): string =>
    text
      .replaceAll(/\/(?:etc|run)\/trousseau/g, (path) => join(dir, path))
      .replaceAll('chgrp trousseau', `chgrp ${process.getgid?.() ?? 0}`)
      .replaceAll('https://vault.example:8200', vault.address);

  const shell = async (script: string): Promise<string> => {
    const { stdout } = await run('/bin/sh', ['-euc', here(script)], {
      cwd: ROOT,
      timeout: COMMAND_MS,
      env: {
        HOME: dir,
        PATH: `${join(dir, 'bin')}:${process.env['PATH']}`,
        VAULT_ADDR: vault.address,
        VAULT_TOKEN: vault.admin.token,
        VAULT_CACERT: join(dir, 'ca.crt'),
        KUBECONFIG: join(dir, 'kubeconfig'),
      },
    });
    return stdout;
  };

  before(async () => {
    for (const name of ['bin', 'run/trousseau'])
      mkdirSync(join(dir, name), { mode: 0o750, recursive: true });
    symlinkSync(testServers()['vault-newest'], join(dir, 'bin/vault'));
    symlinkSync(testServers().kubectl, join(dir, 'bin/kubectl'));
    ({ vault } = await startTlsVault(dir));
    etcd = await startEtcd({ dir });
    api = await startKubeApiserver({ dir, etcd: etcd.endpoint });
    await api.secrets.create('from-before', 'written in clear');
    other = await startKubeApiserver({ dir: folder.sub('other-node'), etcd: etcd.endpoint });
    assert.equal((await other.secrets.list()).length, 1);
  });
  after(async () => {
    await other?.stop();
    await api?.stop();
    await etcd?.stop();
    await plugin?.stop();
    await vault?.stop();
    folder.remove();
  });

  it('install it with one command, which test/package runs in a Debian tree', async () => {
    assert.equal(block('sh', /^make install$/m), 'make install\n');
    // What it lays out, in the folder of the test.
    mkdirSync(join(dir, 'etc/trousseau'), { mode: 0o750, recursive: true });
    symlinkSync(PROGRAM, join(dir, 'bin/trousseau'));
    assert.match(await shell('trousseau version'), /^trousseau 3/);
  });

  it('make the key, the policy and the identity', async () => {
    for (const script of blocks('sh').filter((text) => /^(?:vault|umask) /m.test(text)))
      await shell(script);
  });

  it('start the plugin, as its unit does, with one rule on modes', async () => {
    const etc = join(dir, 'etc/trousseau');
    writeFileSync(join(etc, 'config.yaml'), here(block('yaml', /KMSPluginConfiguration/)));
    const commands = block('sh', /config check/);
    assert.match(commands, /^systemctl enable --now trousseau\.socket trousseau\.service$/m);
    await shell(commands.replace(/^systemctl .*$/m, ''));
    for (const name of ['config.yaml', 'role-id', 'secret-id', 'ca.pem'])
      assert.equal(statSync(join(etc, name)).mode & 0o777, 0o640, name);
    const unit = readFileSync(join(ROOT, 'systemd/trousseau.service'), 'utf8');
    const start = /^ExecStart=\/usr\/bin\/trousseau (.*)$/m.exec(unit)?.[1] ?? '';
    const args = here(start).split(' ');
    plugin = await startServer(
      { program: PROGRAM, args, logFile: join(dir, 'plugin.log') },
      START_MS,
      async () => (await shell(block('sh', /^curl/))).includes('"status":"ok"'),
    );
  });

  it('encrypt what is written from then on, and with kubectl what was there', async () => {
    writeFileSync(api.configFile, here(block('yaml', /EncryptionConfiguration/)));
    await api.restart();
    await api.secrets.create('from-now-on', 'written through the plugin');
    const stored = async (name: string): Promise<string> =>
      String(await etcd.range(`/registry/secrets/default/${name}`));
    assert.match(await stored('from-now-on'), /^k8s:enc:kms:v2:trousseau:/);
    assert.match(await stored('from-before'), /written in clear|^k8s\0/);
    writeKubeconfig(join(dir, 'kubeconfig'), api);
    // What the README then points to: before, one is in clear although kube-apiserver and the plugin are ready.
    layEtcdctl(join(dir, 'bin'), etcd.endpoint);
    assert.match(await shell(encryptedOrNot()), /^ *1 k8s\n *1 k8s:enc:kms:v2:trousseau:\n$/);
    await shell(block('sh', /^kubectl/));
    assert.match(readme, /replace -f -[\s\S]{0,300}operations\.md#is-every-secret-encrypted/);
    assert.match(await shell(encryptedOrNot()), /^ *2 k8s:enc:kms:v2:trousseau:\n$/);
    assert.match(await stored('from-before'), /^k8s:enc:kms:v2:trousseau:/);
    assert.equal(await api.secrets.read('from-before'), 'written in clear');
    assert.equal(await api.secrets.read('from-now-on'), 'written through the plugin');
  });

  it('need two rounds with several nodes: one without the entry lists nothing, one of the first round all', async () => {
    await waitUntil('a list that fails', COMMAND_MS, async () => {
      const failure = await other.secrets.list().catch((error: unknown) => String(error));
      return /no matching prefix found|identity transformer/.test(String(failure));
    });
    await other.restart([IDENTITY, kmsProvider('v2', join(dir, 'run/trousseau/kms.sock'))]);
    const listed = await other.secrets.list();
    assert.deepEqual(listed.map(({ name }) => name).sort(), ['from-before', 'from-now-on']);
  });
});
