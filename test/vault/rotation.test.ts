import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  KEY,
  PLAIN,
  prepareTransit,
  RELEASES,
  startWithToken,
  testFolder,
} from './vault-under-test.ts';

const CALLS = 10_000;
const CONCURRENCY = 64;
const ROTATIONS = 4;

const folder = testFolder();
after(() => folder.remove());

for (const release of RELEASES) {
  describe(`a key in the ${release} Vault`, { timeout: 180_000 }, () => {
    let vault: DevVault;

    it('is rotated under load: each key_id fits the version in its ciphertext, and every old one decrypts', async () => {
      vault = await startDevVault({ release, dir: folder.sub(release) });
      await prepareTransit(vault.admin);
      const dir = folder.sub(`${release}-rotated`);
      await using plugin = await startWithToken(vault.admin, vault.address, dir);
      await plugin.ready();
      const versionOf = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1]);
      const keyIds = new Map<number, string>();
      const samples = new Map<number, Uint8Array>();
      let done = 0;
      const worker = async (): Promise<void> => {
        while (done < CALLS) {
          const call = done;
          done += 1;
          if (call % (CALLS / ROTATIONS) === CALLS / ROTATIONS / 2)
            await vault.admin.rotateKey(KEY);
          const { ciphertext, key_id } = await plugin.client.v2.encrypt(PLAIN, `call-${call}`);
          const inCiphertext = versionOf(Buffer.from(ciphertext).toString(), /^vault:v(\d+):/);
          assert.equal(versionOf(key_id, /^vault:v(\d+):/), inCiphertext);
          assert.equal(keyIds.get(inCiphertext) ?? key_id, key_id);
          keyIds.set(inCiphertext, key_id);
          samples.set(inCiphertext, ciphertext);
        }
      };
      await Promise.all(Array.from({ length: CONCURRENCY }, worker));
      await waitUntil('the last version is announced', 5_000, async () =>
        (await plugin.client.v2.status()).key_id.startsWith(`vault:v${ROTATIONS + 1}:`),
      );
      const status = await plugin.client.v2.status();
      const last = await plugin.client.v2.encrypt(PLAIN, 'last');
      assert.equal(last.key_id, status.key_id);
      assert.ok(samples.size >= 2, `versions seen: ${[...samples.keys()]}`);
      for (const [version, ciphertext] of samples) {
        const key_id = keyIds.get(version) ?? '';
        const { plaintext } = await plugin.client.v2.decrypt({
          ciphertext,
          key_id,
          uid: 'old',
          annotations: new Map(),
        });
        assert.deepEqual(Buffer.from(plaintext), PLAIN);
      }
    });

    it('has the same key_id on every node, whatever its address and its login are', async () => {
      const one = folder.sub(`${release}-one`);
      const two = folder.sub(`${release}-two`);
      await using first = await startWithToken(vault.admin, vault.address, one);
      await using second = await startWithToken(
        vault.admin,
        vault.address.replace('127.0.0.1', 'localhost'),
        two,
      );
      await Promise.all([first.ready(), second.ready()]);
      assert.equal(
        (await first.client.v2.status()).key_id,
        (await second.client.v2.status()).key_id,
      );
    });

    it('refuses what lies below min_decryption_version in words, and goes on with the rest', async () => {
      const dir = folder.sub(`${release}-too-old`);
      await using plugin = await startWithToken(vault.admin, vault.address, dir);
      await plugin.ready();
      const old = await plugin.client.v2.encrypt(PLAIN, 'old');
      await vault.admin.rotateKey(KEY);
      const least = ROTATIONS + 2;
      await vault.admin.configureKey(KEY, {
        min_decryption_version: least,
        min_encryption_version: least,
      });
      await assert.rejects(
        plugin.client.v2.decrypt({ ...old, uid: 'old' }),
        /PERMISSION_DENIED.*min_decryption_version/,
      );
      const line = plugin.log().find(({ msg }) => msg === 'calls fail');
      assert.deepEqual(
        [line?.level, line?.['reason'], line?.['keyVersion']],
        ['warn', 'denied', String(least - 1)],
      );
      assert.match(String(line?.['why']), /min_decryption_version/);
      await plugin.ready(5_000);
      const fresh = await plugin.client.v2.encrypt(PLAIN, 'new');
      assert.deepEqual(
        Buffer.from((await plugin.client.v2.decrypt({ ...fresh, uid: 'new' })).plaintext),
        PLAIN,
      );
      assert.equal((await plugin.client.v2.status()).healthz, 'ok');
    });

    after(() => vault?.stop());
  });
}
