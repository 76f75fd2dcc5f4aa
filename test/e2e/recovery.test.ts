/** docs/recovery.md with a real Vault: its commands, as they stand there, bring the key back. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { jsonRequest } from '../servers/json-request.ts';
import type { Plugin } from '../servers/plugin.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  KEY,
  PLAIN,
  prepareTransit,
  startWithAppRole,
  testFolder,
} from '../vault/vault-under-test.ts';
import { documentBlocks } from './document.ts';

const run = promisify(execFile);
const RESTORED_MS = 30_000;
const folder = testFolder();

/** The block of commands that starts so. */
function commands(start: string): string {
  const found = documentBlocks('docs/recovery.md').filter(
    ({ language, text }) => language === 'sh' && text.startsWith(start),
  );
  assert.equal(found.length, 1, start);
  return found[0]?.text ?? '';
}

describe('the page on restoring the key', { timeout: 180_000 }, () => {
  const dir = folder.sub('vault');
  let vault: Vault;
  let plugin: Plugin;
  const shell = async (script: string): Promise<string> => {
    const { stdout } = await run(
      '/bin/sh',
      ['-euc', `vault() { ${testServers()['vault-newest']} "$@"; }\n${script}`],
      {
        cwd: dir,
        env: {
          PATH: process.env['PATH'],
          HOME: dir,
          VAULT_ADDR: vault.address,
          VAULT_TOKEN: vault.admin.token,
        },
      },
    );
    return stdout;
  };
  const readyz = async (): Promise<string> => {
    const socket = join(folder.path, 'plugin/admin.sock');
    const script = `curl --silent --unix-socket ${socket} http://localhost/readyz`;
    return await shell(script);
  };
  const encrypted = async (): Promise<Uint8Array> => (await plugin.client.v1.encrypt(PLAIN)).cipher;
  const readable = async (cipher: Uint8Array): Promise<void> =>
    assert.deepEqual(Buffer.from((await plugin.client.v1.decrypt(cipher)).plain), PLAIN);

  /** Steps 2 and 3 of the page. */
  const restored = async (): Promise<void> => {
    await shell(commands('vault operator raft snapshot restore'));
    await waitUntil('Vault serves the snapshot', RESTORED_MS, async () => {
      const { status } = await jsonRequest({
        method: 'GET',
        url: `${vault.address}/v1/sys/health`,
      });
      if (status === 503) await vault.unseal();
      return status === 200;
    });
  };

  before(async () => {
    vault = await startSealableVault({ release: 'newest', dir, storage: 'raft' });
    await prepareTransit(vault.admin);
    plugin = await startWithAppRole(vault.admin, vault.address, folder.sub('plugin'));
    await plugin.ready();
  });
  after(async () => {
    await plugin?.stop();
    await vault?.stop();
    folder.remove();
  });

  it('says rightly that the key can neither be exported nor backed up alone', async () => {
    for (const path of [`transit/export/encryption-key/${KEY}`, `transit/backup/${KEY}`])
      assert.ok((await vault.admin.request('GET', path)).status >= 400, path);
  });

  it('a snapshot brings a deleted key back, with all versions, and the plugin goes on by itself', async () => {
    const first = await encrypted();
    await vault.admin.rotateKey(KEY);
    await plugin.client.v2.status();
    await shell(commands('vault operator raft snapshot save'));
    const versions = await shell(commands('vault read -field=keys'));
    const { key_id } = await plugin.client.v2.status();
    await vault.admin.deleteKey(KEY);
    await waitUntil(
      'the plugin sees that the key is gone',
      RESTORED_MS,
      async () => !(await readyz()).includes('"status":"ok"'),
    );
    await restored();
    await plugin.ready(RESTORED_MS);
    assert.match(
      await shell(
        commands('for second').replace(
          '/run/trousseau/admin.sock',
          join(folder.path, 'plugin/admin.sock'),
        ),
      ),
      /"status":"ok"/,
    );
    assert.equal(await shell(commands('vault read -field=keys')), versions);
    assert.match((await plugin.client.v2.status()).key_id, new RegExp(`^${key_id.split(':')[0]}:`));
    await readable(first);
    await readable(await encrypted());
  });

  it('a key that may be backed up alone comes back from that copy', async () => {
    const cipher = await encrypted();
    await shell(commands('vault write transit/keys/kubernetes/config'));
    await vault.admin.deleteKey(KEY);
    await shell(commands('vault write transit/restore/kubernetes backup'));
    await plugin.ready(RESTORED_MS);
    await readable(cipher);
  });

  it('the same copy takes the place of a key that was made again, once it was looked into', async () => {
    const cipher = await encrypted();
    const whole = await shell(commands('vault read -field=keys'));
    await shell(commands('vault write transit/keys/kubernetes/config'));
    await vault.admin.deleteKey(KEY);
    await vault.admin.createKey(KEY);
    await assert.rejects(
      shell(commands('vault write transit/restore/kubernetes backup')),
      /exists/,
    );
    assert.ok(
      (await shell(commands('vault write transit/restore/kubernetes-copy'))).includes(whole),
    );
    await shell(commands('vault write transit/restore/kubernetes force=true'));
    await shell(commands('vault write transit/keys/kubernetes-copy/config'));
    await plugin.ready(RESTORED_MS);
    assert.equal(await shell(commands('vault read -field=keys')), whole);
    await readable(cipher);
  });

  it('a snapshot brings back a secret id that was destroyed since, as the page says', async () => {
    const role = 'auth/approle/role/node';
    await shell(`vault write ${role} token_policies=default`);
    const roleId = await shell(`vault read -field=role_id ${role}/role-id`);
    const secretId = await shell(`vault write -f -field=secret_id ${role}/secret-id`);
    const login = `vault write auth/approle/login role_id=${roleId} secret_id=${secretId}`;
    await shell(commands('vault operator raft snapshot save'));
    await shell(`vault write ${role}/secret-id/destroy secret_id=${secretId}`);
    await assert.rejects(shell(login), /invalid role or secret ID/);
    await restored();
    assert.match(await shell(login), /token_policies/);
  });

  it('names the state in which a snapshot from before a rotation leaves the plugin', async () => {
    await shell(commands('vault operator raft snapshot save'));
    const { key_id } = await plugin.client.v2.status();
    await vault.admin.rotateKey(KEY);
    await waitUntil(
      'the rotation is announced',
      RESTORED_MS,
      async () => (await plugin.client.v2.status()).key_id !== key_id,
    );
    await restored();
    // After 30 more seconds the state is `lost`.
    await waitUntil('the loss is seen', RESTORED_MS, async () =>
      /has no version \d+, which was announced.*restart no kube-apiserver/.test(await readyz()),
    );
  });
});
