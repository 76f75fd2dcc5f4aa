import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Plugin, startAgain } from '../servers/plugin.ts';
import { startSealableVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  PLAIN,
  prepareTransit,
  RELEASES,
  startWithAppRole,
  testFolder,
} from './vault-under-test.ts';

const OUTAGE_MS = 20_000;
const BACK_WITHIN_MS = 2_000;
const CONCURRENCY = 16;

const folder = testFolder();
after(() => folder.remove());

type Tally = { served: number; refused: string[]; wrong: number };

/** Calls without a pause until `stop` aborts. A wrong answer is worse than none, so it is counted apart. */
async function load({ client }: Plugin, stop: AbortSignal): Promise<Tally> {
  const tally: Tally = { served: 0, refused: [], wrong: 0 };
  const known = await client.v2.encrypt(PLAIN, 'known');
  const worker = async (encrypts: boolean): Promise<void> => {
    while (!stop.aborted) {
      try {
        if (encrypts) {
          const { ciphertext, key_id } = await client.v2.encrypt(PLAIN, 'load');
          if (ciphertext.length === 0 || key_id !== known.key_id) tally.wrong += 1;
        } else {
          const { plaintext } = await client.v2.decrypt({ ...known, uid: 'load' });
          if (!Buffer.from(plaintext).equals(PLAIN)) tally.wrong += 1;
        }
        tally.served += 1;
      } catch (error) {
        tally.refused.push(String(error));
        await sleep(20);
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, (_, i) => worker(i % 2 === 0)));
  return tally;
}

function readyz(dir: string): Promise<{ code: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const options = { socketPath: join(dir, 'admin.sock'), path: '/readyz' };
    request(options, (answer) => {
      let body = '';
      answer.on('data', (chunk) => {
        body += chunk;
      });
      answer.on('end', () => resolve({ code: answer.statusCode, body }));
    })
      .on('error', reject)
      .end();
  });
}

for (const release of RELEASES) {
  describe(`the ${release} Vault`, { timeout: 180_000 }, () => {
    it('is sealed when the plugin starts: it is ready within 2 s of the unsealing, with no restart', async () => {
      const dir = folder.sub(`${release}-sealed`);
      await using vault = await startSealableVault({
        release,
        dir: folder.sub(`${release}-sealed-vault`),
      });
      await prepareTransit(vault.admin);
      const plugin = await startWithAppRole(vault.admin, vault.address, dir);
      await plugin.ready();
      await plugin.stop();
      await vault.seal();
      await using again = await startAgain(dir);
      // The first look at Vault may not have ended yet.
      await waitUntil('Status says so', 5_000, () =>
        again.client.v2.status().then(
          () => false,
          (error) => /UNAVAILABLE.*sealed/.test(String(error)),
        ),
      );
      assert.equal((await readyz(dir)).code, 503);
      const waiting = again.client.v2.encrypt(PLAIN, 'waits');
      await vault.unseal();
      await again.ready(BACK_WITHIN_MS);
      assert.ok((await waiting).ciphertext.length > 0, 'a call that waited was served');
      assert.equal((await readyz(dir)).code, 200);
    });

    it('is away for 20 s under load: no wrong answer, no crash, back within 2 s', async () => {
      const dir = folder.sub(`${release}-away`);
      await using vault = await startSealableVault({
        release,
        dir: folder.sub(`${release}-away-vault`),
      });
      await prepareTransit(vault.admin);
      await using plugin = await startWithAppRole(vault.admin, vault.address, dir);
      await plugin.ready();
      const before = await plugin.client.v2.status();
      const stop = new AbortController();
      const loading = load(plugin, stop.signal);
      await sleep(1_000);
      await vault.stop('kill');
      await waitUntil('healthz shows the outage', 5_000, async () => {
        const { healthz, key_id } = await plugin.client.v2.status();
        assert.equal(key_id, before.key_id);
        return healthz !== 'ok';
      });
      assert.equal((await readyz(dir)).code, 503);
      await sleep(OUTAGE_MS);
      assert.ok(plugin.process.isRunning());
      await vault.restart();
      await plugin.ready(BACK_WITHIN_MS);
      await sleep(1_000);
      stop.abort();
      const { served, refused, wrong } = await loading;
      assert.equal(wrong, 0);
      assert.ok(served > 100, `${served} served`);
      assert.ok(refused.length > 0);
      // What the plugin answered, by its log: a client that is held up itself may miss its own deadline.
      assert.deepEqual(outcomesOf(plugin), ['OK', 'UNAVAILABLE']);
      assert.deepEqual(await plugin.client.v2.status(), before);
    });
  });
}

function outcomesOf(plugin: Plugin): readonly string[] {
  const calls = plugin.log().filter(({ msg }) => msg === 'kms call');
  // A plugin that is held up answers after the deadline, and the client has cancelled by then.
  const kept = calls.filter(({ outcome }) => outcome !== 'CANCELLED');
  return [...new Set(kept.map(({ outcome }) => String(outcome)))].sort();
}
