/** What an operator and a client see where calls fail, or ask for more time than a timer can hold. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeEncryptRequest } from '../../src/kms/codec/v2.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
} from '../fuzz/raw-connection.ts';
import { startPlugin } from '../servers/plugin.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { startFakeVault } from './fake-vault.ts';
import { askAdmin, vaultProviders } from './program.ts';

const SEED = Buffer.alloc(32, 0x5e);
const CALLS = 20;
/** Longer than the millisecond after which a timer ends that is set for too long. */
const ANSWER_MS = 200;
const none = Promise.resolve(undefined);
const TOO_OLD = 'ciphertext or signature version is disallowed by policy (too old)';

it('decrypts that are all refused are a warning at info, once for all of them, and counted in /readyz', async (t) => {
  const dir = temporaryFolder(t);
  let raised = false;
  await using vault = await startFakeVault({
    async replyTo(path, body) {
      if (!raised || !path.startsWith('transit/decrypt/')) return undefined;
      const { batch_input: items = [] } = body as { batch_input?: readonly object[] };
      return {
        status: 400,
        body: { data: { batch_results: items.map(() => ({ error: TOO_OLD })) } },
      };
    },
  });
  const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
  const log = { level: 'info', format: 'json' };
  await using plugin = await startPlugin({ dir, config: { providers, log } });
  await plugin.ready();
  const sealed = await plugin.client.v2.encrypt(SEED, 'before');
  raised = true;
  for (let i = 0; i < CALLS; i += 1)
    await assert.rejects(plugin.client.v2.decrypt({ ...sealed, uid: `after-${i}` }));
  const warned = plugin
    .log()
    .filter((line) => line.level === 'warn' && JSON.stringify(line).includes('too old'));
  assert.equal(warned.length, 1, JSON.stringify(warned));
  const { body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
  const counts = body['failedCalls'] as readonly {
    readonly call: string;
    readonly count: number;
  }[];
  assert.deepEqual(
    counts.map(({ call, count }) => [call, count]),
    [['decrypt', CALLS]],
  );
});

for (const timeout of ['597H', '99999999H', '2147484S'] as const) {
  it(`a call with grpc-timeout ${timeout} has time, and is answered`, async (t) => {
    const dir = temporaryFolder(t);
    await using vault = await startFakeVault({
      replyTo: (path) => (path.includes('/encrypt/') ? sleep(ANSWER_MS, undefined) : none),
    });
    const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    const connection = await openConnection(plugin.socket);
    t.after(() => connection.socket.destroy());
    const path = '/v2.KeyManagementService/Encrypt';
    const headers = createHeaderWriter().headers(1, path, { 'grpc-timeout': timeout });
    const message = prefixed(encodeEncryptRequest({ plaintext: SEED, uid: 'long' }));
    connection.socket.write(Buffer.concat([OPENING, headers, lastData(1, message)]));
    await connection.until(() => connection.ends.has(1));
    assert.equal(connection.ends.get(1), 'grpc-status 0');
  });
}
