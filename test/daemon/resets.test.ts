import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Client, credentials } from '@grpc/grpc-js';
import { createKmsClient } from '../../src/kms/client.ts';
import { startPlugin } from '../servers/plugin.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { localProviders } from './program.ts';

const ROUNDS = 25;
const CLIENTS = 20;
const PATHS = [
  '/v2.KeyManagementService/Status',
  '/v2.KeyManagementService/Steal',
  '/v3.KeyManagementService/Status',
];
/** The authority of kube-apiserver up to 1.28, and of newer ones. */
const AUTHORITIES = ['/var/run/kms.sock', 'localhost'];

/** One call by a client of its own, whose deadline passes while the daemon stands still. */
function callShortly(socket: string, i: number): Promise<void> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.default_authority': AUTHORITIES[i % AUTHORITIES.length] ?? '',
    'grpc.service_config_disable_resolution': 1,
  });
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      PATHS[i % PATHS.length] ?? '',
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      Buffer.alloc(0),
      { deadline: Date.now() + 20 + i },
      () => {
        client.close();
        resolve();
      },
    );
  });
}

describe('honest clients with short deadlines, while the daemon is stopped for a moment', () => {
  it('do not end it when it goes on', { timeout: 120_000 }, async (t) => {
    const dir = temporaryFolder(t);
    await using plugin = await startPlugin({
      dir,
      config: { providers: await localProviders(dir) },
    });
    await plugin.ready();
    for (let round = 0; round < ROUNDS; round += 1) {
      const calls = Array.from({ length: CLIENTS }, (_, i) => callShortly(plugin.socket, i));
      plugin.process.pause();
      await Promise.all(calls);
      plugin.process.resume();
      const client = createKmsClient(plugin.socket);
      assert.equal((await client.v2.status()).healthz, 'ok');
      client.close();
      assert.ok(plugin.process.isRunning());
    }
  });
});
