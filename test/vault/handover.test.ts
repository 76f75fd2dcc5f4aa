/** A restart of the shipped program while a real Vault is away: Status answers the key_id from before. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { HANDOVER_FILE } from '../../src/cli/handover.ts';
import { askAdmin } from '../daemon/program.ts';
import { startAgain } from '../servers/plugin.ts';
import { startSealableVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { KEY, PLAIN, prepareTransit, startWithToken, testFolder } from './vault-under-test.ts';

const LOST_WITHIN_MS = 60_000;

const folder = testFolder();
after(() => folder.remove());

describe('a plugin with a state directory', { timeout: 180_000 }, () => {
  it('that restarts in an outage of Vault announces the same key_id, and is well when Vault is back', async () => {
    const dir = folder.sub('outage');
    const env = { STATE_DIRECTORY: folder.sub('outage-state') };
    await using vault = await startSealableVault({ release: 'newest', dir: folder.sub('vault-a') });
    await prepareTransit(vault.admin);
    await vault.admin.rotateKey(KEY);
    const cached = { decryptCache: {} };
    const first = await startWithToken(vault.admin, vault.address, dir, {}, {}, cached);
    await first.ready();
    await first.stop();
    // Without a directory nothing was handed over.
    await vault.stop('kill');
    const without = await startAgain(dir);
    await assert.rejects(without.client.v2.status(), /UNAVAILABLE/);
    await without.stop();

    await vault.restart();
    const before = await startAgain(dir, env);
    await before.ready();
    const { key_id } = await before.client.v2.status();
    assert.match(key_id, /^vault:v2:/);
    const written = await before.client.v2.encrypt(PLAIN, 'seed');
    const file = join(env.STATE_DIRECTORY, HANDOVER_FILE);
    const source = Buffer.from(written.ciphertext).toString('base64');
    await waitUntil(
      'the handover',
      5_000,
      async () => existsSync(file) && readFileSync(file, 'utf8').includes(source),
    );
    await vault.stop('kill');
    await before.process.kill();
    before.client.close();

    await using again = await startAgain(dir, env);
    const status = await again.client.v2.status();
    assert.equal(status.key_id, key_id);
    assert.match(status.healthz, /^the provider has not been reached yet/);
    await vault.restart();
    await again.ready(5_000);
    assert.equal((await again.client.v2.status()).key_id, key_id);
    await waitUntil('the seed is a source again', 5_000, async () => {
      const { body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
      return (body['decryptCache'] as { seeds: boolean }).seeds;
    });
    const { plaintext } = await again.client.v2.decrypt({ ...written, uid: 'read' });
    assert.deepEqual(Buffer.from(plaintext), PLAIN);
  });

  it('that was refused, as without its key, does not announce it when it restarts in an outage of Vault', async () => {
    const dir = folder.sub('refused');
    const env = { STATE_DIRECTORY: folder.sub('refused-state') };
    await using vault = await startSealableVault({ release: 'newest', dir: folder.sub('vault-c') });
    await prepareTransit(vault.admin);
    const started = await startWithToken(vault.admin, vault.address, dir);
    await started.ready();
    await started.stop();
    const before = await startAgain(dir, env);
    await before.ready();
    const file = join(env.STATE_DIRECTORY, HANDOVER_FILE);
    await waitUntil('the handover', 5_000, async () => existsSync(file));
    await vault.admin.deleteKey(KEY);
    await assert.rejects(before.client.v2.encrypt(PLAIN, 'seed'), /PERMISSION_DENIED/);
    await vault.stop('kill');
    await assert.rejects(before.client.v2.status(), /the key does not exist/);
    await before.stop();

    await using again = await startAgain(dir, env);
    await waitUntil('the first look', 5_000, async () => {
      const { body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
      return String(body['why']).includes('cannot reach');
    });
    await assert.rejects(again.client.v2.status(), /UNAVAILABLE/);
  });

  it('that restarts after an older backup of Vault was restored does not go back to the key_id before', async () => {
    const dir = folder.sub('restored');
    const env = { STATE_DIRECTORY: folder.sub('restored-state') };
    const vaultDir = folder.sub('vault-b');
    await using vault = await startSealableVault({ release: 'newest', dir: vaultDir });
    await prepareTransit(vault.admin);
    const started = await startWithToken(vault.admin, vault.address, dir);
    await started.ready();
    await started.stop();
    const data = join(vaultDir, `vault-${vault.port}-data`);
    cpSync(data, join(folder.path, 'backup'), { recursive: true });
    await vault.admin.rotateKey(KEY);
    const before = await startAgain(dir, env);
    await before.ready();
    await waitUntil('the second version', 5_000, async () =>
      (await before.client.v2.status()).key_id.startsWith('vault:v2:'),
    );
    const { key_id } = await before.client.v2.status();
    // A clean stop, so that what was announced last is on disk.
    await waitUntil('the handover', 5_000, async () =>
      readFileSync(join(env.STATE_DIRECTORY, HANDOVER_FILE), 'utf8').includes(key_id),
    );
    await before.stop();

    await vault.stop();
    rmSync(data, { recursive: true });
    cpSync(join(folder.path, 'backup'), data, { recursive: true });
    await vault.restart();
    await using again = await startAgain(dir, env);
    const seen = new Set<string>();
    await waitUntil('the loss is in Status', LOST_WITHIN_MS, async () => {
      try {
        seen.add((await again.client.v2.status()).key_id);
        return false;
      } catch (error) {
        return /has lost version 2.*Restart no kube-apiserver/.test(String(error));
      }
    });
    assert.deepEqual([...seen], [key_id]);
  });
});
