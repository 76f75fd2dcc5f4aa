import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Client, credentials, status } from '@grpc/grpc-js';
import { startPlugin } from '../servers/plugin.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { localProviders } from './program.ts';

const ROUNDS = 25;
const CLIENTS = 20;
const ANSWERED_MS = 10_000;
const STATUS = '/v2.KeyManagementService/Status';
const PATHS = [STATUS, '/v2.KeyManagementService/Steal', '/v3.KeyManagementService/Status'];
/** The authority of kube-apiserver up to 1.28, and of newer ones. */
const AUTHORITIES = ['/var/run/kms.sock', 'localhost'];

/** A client of its own, which calls again and again on its one connection. */
function clientOf(socket: string, i: number): Client {
  return new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.default_authority': AUTHORITIES[i % AUTHORITIES.length] ?? '',
    'grpc.service_config_disable_resolution': 1,
    'grpc.use_local_subchannel_pool': 1,
  });
}

/** Resolves with the status code when the call has ended, whatever came of it. */
function call(client: Client, path: string, withinMs: number): Promise<number> {
  const asIs = (bytes: Buffer): Buffer => bytes;
  const options = { deadline: Date.now() + withinMs };
  return new Promise((resolve) => {
    client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), options, (error) =>
      resolve(error?.code ?? status.OK),
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
    const clients = Array.from({ length: CLIENTS }, (_, i) => clientOf(plugin.socket, i));
    t.after(() => {
      for (const client of clients) client.close();
    });
    for (let round = 0; round < ROUNDS; round += 1) {
      const answers = await Promise.all(clients.map((client) => call(client, STATUS, ANSWERED_MS)));
      assert.deepEqual([...new Set(answers)], [status.OK]);
      plugin.process.pause();
      const cut = await Promise.all(
        clients.map((client, i) => call(client, PATHS[i % PATHS.length] ?? STATUS, 5 + i)),
      );
      plugin.process.resume();
      assert.deepEqual([...new Set(cut)], [status.DEADLINE_EXCEEDED]);
    }
    assert.ok(plugin.process.isRunning());
  });
});
