/** A move to another Vault that has a key of the same name under the same mount. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { HANDOVER_FILE } from '../../src/cli/handover.ts';
import { logged, REFUSED, RELOADED, replaceConfig } from '../daemon/changed-config.ts';
import { startAgain } from '../servers/plugin.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  KEY,
  PLAIN,
  POLICY,
  prepareTransit,
  secretFile,
  startWithToken,
  testFolder,
} from './vault-under-test.ts';

const folder = testFolder();
after(() => folder.remove());

async function provider(name: string, { admin, address }: DevVault, dir: string): Promise<object> {
  const tokenFile = secretFile(
    dir,
    `${name}-token`,
    await admin.createToken({ policies: [POLICY] }),
  );
  return { name, vault: { addresses: [address], key: KEY, auth: { token: { tokenFile } } } };
}

describe('a plugin that moves to another Vault with a key of the same name', {
  timeout: 180_000,
}, () => {
  it('is refused without the earlier one, by a reload and by a start, and goes on with both', async () => {
    const dir = folder.sub('move');
    const env = { STATE_DIRECTORY: folder.sub('state') };
    const start = (name: string): Promise<DevVault> =>
      startDevVault({ release: 'newest', dir: folder.sub(name) });
    const [earlier, next] = await Promise.all([start('earlier'), start('next')]);
    await using _earlier = earlier;
    await using _next = next;
    await prepareTransit(earlier.admin);
    await earlier.admin.rotateKey(KEY);
    // Made in the same second, version 1 there would have the key_id of version 1 here.
    const second = Math.floor(Date.now() / 1_000);
    await waitUntil('another second', 5_000, async () => Date.now() / 1_000 >= second + 1);
    await prepareTransit(next.admin);
    await (await startWithToken(earlier.admin, earlier.address, dir)).stop();
    const before = await startAgain(dir, env);
    await before.ready();
    const written = await before.client.v2.encrypt(PLAIN, 'before');
    await waitUntil('the handover', 5_000, async () =>
      existsSync(join(env.STATE_DIRECTORY, HANDOVER_FILE)),
    );
    const vault = await provider('vault', next, dir);
    const kept = await provider('earlier', earlier, dir);
    const health = { watchInterval: '1s' };
    replaceConfig(dir, { health, providers: [vault], write: ['vault'] });
    await logged(before, REFUSED, 1);
    await before.stop();

    const refused = await startAgain(dir, env);
    await waitUntil('the refusal', 15_000, () =>
      refused.client.v2.status().then(
        () => false,
        (error) => /PERMISSION_DENIED.*is another key than vault:v2:/.test(String(error)),
      ),
    );
    replaceConfig(dir, { health, providers: [vault, kept], write: ['vault'] });
    await logged(refused, RELOADED, 1);
    await refused.ready();
    const { key_id } = await refused.client.v2.status();
    assert.match(key_id, /^vault:v1:/);
    const read = await refused.client.v2.decrypt({ ...written, uid: 'read' });
    assert.deepEqual(Buffer.from(read.plaintext), PLAIN);
    await refused.stop();

    await using again = await startAgain(dir, env);
    await again.ready();
    assert.equal((await again.client.v2.status()).key_id, key_id);
    assert.equal((await again.client.v2.encrypt(PLAIN, 'after')).key_id, key_id);
  });
});
