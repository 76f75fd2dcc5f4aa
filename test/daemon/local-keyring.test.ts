/** The file of a local keyring that is removed or replaced under the shipped program. */
import assert from 'node:assert/strict';
import { copyFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { startPlugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { linesOf, logged, REFUSED, RELOADED, reloadOf, replaceConfig } from './changed-config.ts';
import { askAdmin, localProviders, trousseau } from './program.ts';

const SEED = Buffer.alloc(32, 0x5e);
/** Far below health.watchInterval, which is 30 s. */
const NOTICED_MS = 10_000;

const CHANGES: readonly [string, (file: string, dir: string) => Promise<void>, RegExp][] = [
  ['is removed', async (file) => rmSync(file), /does not exist: restore it from its copy/],
  [
    'is replaced by an older copy',
    async (file, dir) => renameSync(join(dir, 'older'), file),
    /version 2 is missing in it/,
  ],
  [
    'is replaced by a new keyring',
    async (file) => {
      rmSync(file);
      assert.equal((await trousseau('keyring', 'init', file)).code, 0);
    },
    /another keyring is in its place/,
  ],
];

describe('the file of a local keyring', () => {
  for (const [what, change, sentence] of CHANGES) {
    it(`${what}: /readyz and Status say so within seconds, a reload is refused, and nothing is lost`, async (t) => {
      const dir = temporaryFolder(t);
      const providers = await localProviders(dir);
      const file = join(dir, 'keyring.json');
      copyFileSync(file, join(dir, 'older'));
      assert.equal((await trousseau('keyring', 'rotate', file)).code, 0);
      const right = join(dir, 'right');
      copyFileSync(file, right);
      await using plugin = await startPlugin({ dir, config: { providers } });
      await plugin.ready();
      const { v2 } = plugin.client;
      const before = await v2.status();
      const written = await v2.encrypt(SEED, 'written');

      await change(file, dir);
      const admin = join(dir, 'admin.sock');
      await waitUntil('/readyz says so', NOTICED_MS, async () => {
        const { status, body } = await askAdmin(admin, '/readyz');
        return status === 503 && sentence.test(String(body['why']));
      });
      await assert.rejects(v2.status(), sentence);
      process.kill(plugin.process.pid, 'SIGHUP');
      await logged(plugin, REFUSED, 1);
      const { plaintext } = await v2.decrypt({ ...written, uid: 'read' });
      assert.deepEqual(Buffer.from(plaintext), SEED);

      renameSync(right, file);
      await plugin.ready(NOTICED_MS);
      assert.deepEqual(await v2.status(), before);
    });
  }

  for (const [what, change, sentence] of CHANGES) {
    it(`that only decrypts ${what}: a reload is refused in each form, and nothing is lost`, async (t) => {
      const dir = temporaryFolder(t);
      const [old] = await localProviders(dir);
      const [other] = await localProviders(temporaryFolder(t));
      assert.ok(old !== undefined && other !== undefined);
      const next = { ...other, name: 'next' };
      const file = join(dir, 'keyring.json');
      copyFileSync(file, join(dir, 'older'));
      assert.equal((await trousseau('keyring', 'rotate', file)).code, 0);
      const right = join(dir, 'right');
      copyFileSync(file, right);
      await using plugin = await startPlugin({ dir, config: { providers: [old] } });
      await plugin.ready();
      const { v2 } = plugin.client;
      const written = await v2.encrypt(SEED, 'written');
      replaceConfig(dir, { providers: [old, next], write: ['next'] });
      await logged(plugin, RELOADED, 1);

      await change(file, dir);
      await waitUntil('the log says so', NOTICED_MS, async () =>
        linesOf(plugin, 'keyring file not taken').some(({ why }) => sentence.test(String(why))),
      );
      const reload: readonly (() => void)[] = [
        () => void process.kill(plugin.process.pid, 'SIGHUP'),
        // Another change of the configuration, another name for it, and the way back.
        () => replaceConfig(dir, { providers: [old, next], write: ['next'], decryptCache: {} }),
        () =>
          replaceConfig(dir, { providers: [{ ...old, name: 'renamed' }, next], write: ['next'] }),
        () => replaceConfig(dir, { providers: [old, next], write: [nameOf(old)] }),
      ];
      for (const [i, begin] of reload.entries()) {
        begin();
        await logged(plugin, REFUSED, i + 1);
        const { plaintext } = await v2.decrypt({ ...written, uid: 'read' });
        assert.deepEqual(Buffer.from(plaintext), SEED);
      }

      renameSync(right, file);
      process.kill(plugin.process.pid, 'SIGHUP');
      await logged(plugin, RELOADED, 2);
      const { plaintext } = await v2.decrypt({ ...written, uid: 'read' });
      assert.deepEqual(Buffer.from(plaintext), SEED);
      // The one that encrypts is not replaced by one that cannot decrypt what it has encrypted.
      replaceConfig(dir, { providers: [next] });
      await logged(plugin, REFUSED, reload.length + 1);
      assert.match(String(linesOf(plugin, REFUSED).at(-1)?.why), /keep the earlier provider/);
      replaceConfig(dir, { providers: [old, next], write: ['next'] });
      await logged(plugin, RELOADED, 3);
      // Taken away on purpose.
      replaceConfig(dir, { providers: [next] });
      await logged(plugin, RELOADED, 4);
      assert.match(String((await reloadOf(dir))['why']), /is not in providers any more/);
      await assert.rejects(v2.decrypt({ ...written, uid: 'read' }));
    });
  }
});

function nameOf(provider: object): string {
  return 'name' in provider ? String(provider.name) : '';
}
