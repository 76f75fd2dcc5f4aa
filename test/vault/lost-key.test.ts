/** A key of a real Vault that goes back to an older backup, or is deleted and made again. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { jsonRequest } from '../servers/json-request.ts';
import type { Plugin } from '../servers/plugin.ts';
import { startSealableVault, type Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  KEY,
  PLAIN,
  prepareTransit,
  RELEASES,
  startWithToken,
  testFolder,
} from './vault-under-test.ts';

const LOST_WITHIN_MS = 60_000;
const PING = Buffer.from('ping');

const folder = testFolder();
after(() => folder.remove());

const fails = (call: Promise<unknown>, sentence: RegExp): Promise<boolean> =>
  call.then(
    () => false,
    (error) => sentence.test(String(error)),
  );

/** As an operator edits the file: it is taken without a restart. */
function acknowledge(dir: string, keyId: string): void {
  const file = join(dir, 'config.yaml');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  config.health = { ...config.health, acknowledgedLosses: [keyId] };
  writeFileSync(file, JSON.stringify(config));
}

/** Puts the data of an earlier time in the place of the present. */
async function restore(vault: Vault, data: string, backup: string): Promise<void> {
  await vault.stop();
  rmSync(data, { recursive: true });
  cpSync(backup, data, { recursive: true });
  await vault.restart();
}

async function readyz(dir: string): Promise<Record<string, unknown>> {
  const url = 'http://localhost/readyz';
  const { body } = await jsonRequest({ socketPath: join(dir, 'admin.sock'), method: 'GET', url });
  return body as Record<string, unknown>;
}

for (const release of RELEASES) {
  describe(`a key of the ${release} Vault`, { timeout: 240_000, concurrency: true }, () => {
    const start = async (name: string): Promise<{ vault: Vault; plugin: Plugin; dir: string }> => {
      const dir = folder.sub(`${release}-${name}`);
      const vault = await startSealableVault({ release, dir: folder.sub(`${release}-${name}-v`) });
      await prepareTransit(vault.admin);
      const plugin = await startWithToken(vault.admin, vault.address, dir);
      await plugin.ready();
      return { vault, plugin, dir };
    };

    it('that lost its last version with a backup is never announced under an earlier key_id, and rescued by a rotation', async () => {
      const { vault, plugin, dir } = await start('restored');
      await using _vault = vault;
      await using _plugin = plugin;
      const { v1, v2 } = plugin.client;
      const first = (await v2.status()).key_id;
      const data = join(folder.path, `${release}-restored-v`, `vault-${vault.port}-data`);
      const backup = join(folder.path, `${release}-backup`);
      cpSync(data, backup, { recursive: true });
      await vault.admin.rotateKey(KEY);
      await waitUntil('the rotation is announced', 5_000, async () => {
        return (await v2.status()).key_id !== first;
      });
      const second = (await v2.status()).key_id;
      const written = await v2.encrypt(PLAIN, 'seed');
      assert.match(Buffer.from(written.ciphertext).toString(), /^vault:v2:/);

      await restore(vault, data, backup);
      const seen = new Set<string>();
      await waitUntil('the loss is in Status', LOST_WITHIN_MS, async () => {
        try {
          seen.add((await v2.status()).key_id);
          return false;
        } catch (error) {
          return /has lost version 2.*Restart no kube-apiserver/.test(String(error));
        }
      });
      assert.deepEqual([...seen], [second]);
      const shown = await readyz(dir);
      assert.equal(shown['state'], 'lost');
      assert.equal(shown['keyId'], second);
      assert.deepEqual(shown['instead'], { how: 'behind', keyVersion: 1 });
      assert.ok(
        plugin.log().some(({ msg, level }) => msg === 'announced key lost' && level === 'error'),
      );
      // KMS v1 has no key_id: what is written again is rescued under the version that is there.
      for (const plain of [PLAIN, PING]) {
        const { cipher } = await v1.encrypt(plain);
        assert.match(Buffer.from(cipher).toString(), /^vault:v1:/);
        assert.deepEqual(Buffer.from((await v1.decrypt(cipher)).plain), plain);
      }
      await assert.rejects(v2.encrypt(PLAIN, 'seed'), /PERMISSION_DENIED.*has lost version 2/);

      await vault.admin.rotateKey(KEY);
      acknowledge(dir, second);
      await plugin.ready(10_000);
      const third = (await v2.status()).key_id;
      assert.match(third, /^vault:v2:/);
      assert.equal(new Set([first, second, third]).size, 3);
      assert.equal((await v2.encrypt(PLAIN, 'seed')).key_id, third);
    });

    it('that was made again encrypts no seed under the key_id of the one before, before anybody looked at it', async () => {
      const { vault, plugin } = await start('at-once');
      await using _vault = vault;
      await using _plugin = plugin;
      const { v2 } = plugin.client;
      const { ciphertext } = await v2.encrypt(PLAIN, 'before');
      assert.match(Buffer.from(ciphertext).toString(), /^vault:v1:/);
      await vault.admin.deleteKey(KEY);
      await vault.admin.createKey(KEY);
      await assert.rejects(
        v2.encrypt(PLAIN, 'after'),
        /PERMISSION_DENIED.*is another key than vault:v1:/,
      );
    });

    it('that was deleted and made again is not announced before an operator acknowledges it', async () => {
      const { vault, plugin, dir } = await start('made-again');
      await using _vault = vault;
      await using _plugin = plugin;
      const { v1, v2 } = plugin.client;
      const before = (await v2.status()).key_id;
      await vault.admin.deleteKey(KEY);
      // Creation times have whole seconds at the oldest Vault.
      await waitUntil('the missing key is in Status', 5_000, () =>
        fails(v2.status(), /the key does not exist/),
      );
      await vault.admin.createKey(KEY);
      await waitUntil('the loss is in Status', 10_000, () =>
        fails(v2.status(), /is another key than vault:v1:.*Restart no kube-apiserver/),
      );
      assert.deepEqual((await readyz(dir))['instead'], { how: 'replaced', keyVersion: 1 });
      await assert.rejects(v1.encrypt(PLAIN), /PERMISSION_DENIED.*another key/);
      assert.match(Buffer.from((await v1.encrypt(PING)).cipher).toString(), /^vault:v1:/);
      acknowledge(dir, before);
      await plugin.ready(10_000);
      assert.notEqual((await v2.status()).key_id, before);
    });
  });
}
