import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Client, credentials, status } from '@grpc/grpc-js';
import { encodeEncryptRequest } from '../../src/kms/codec/v2.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
  resetFrame,
} from '../fuzz/raw-connection.ts';
import { startPlugin } from '../servers/plugin.ts';
import { frame, GOAWAY } from '../unit/authority/http2-bytes.ts';
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

/** RFC 9113, section 7, and what no document defines. */
const CODES = [
  ...Array.from({ length: 16 }, (_, code) => code),
  ...[0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff],
];

function goawayFrame(code: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeUInt32BE(code, 4);
  return frame(GOAWAY, 0, 0, payload);
}

describe('a reset or an end with any code', () => {
  for (const authority of AUTHORITIES) {
    it(`puts no line into the log that is not one of ours: ${authority}`, async (t) => {
      const dir = temporaryFolder(t);
      const config = { providers: await localProviders(dir) };
      await using plugin = await startPlugin({ dir, config });
      await plugin.ready();
      const request = prefixed(encodeEncryptRequest({ plaintext: Buffer.alloc(32), uid: 'u' }));
      const paths = [STATUS, '/v2.KeyManagementService/Encrypt', '/v2.KeyManagementService/Steal'];
      for (const code of CODES) {
        for (const path of paths) {
          const { socket, until, ends, closed } = await openConnection(plugin.socket);
          socket.write(OPENING);
          const writer = createHeaderWriter(authority);
          const whole = (stream: number): Buffer =>
            Buffer.concat([writer.headers(stream, path), lastData(stream, request)]);
          socket.write(Buffer.concat([writer.headers(1, path), resetFrame(1, code)]));
          socket.write(Buffer.concat([whole(3), resetFrame(3, code)]));
          // After its answer, and while the next call has only begun.
          socket.write(whole(5));
          await until(() => ends.has(5));
          socket.write(Buffer.concat([resetFrame(5, code), writer.headers(7, path)]));
          socket.write(whole(9));
          await until(() => ends.has(9));
          socket.write(Buffer.concat([resetFrame(7, code), goawayFrame(code)]));
          socket.end();
          await closed;
        }
      }
      await plugin.ready();
      await plugin.process.stop();
      const lines = readFileSync(plugin.process.logFile, 'utf8').trim().split('\n');
      for (const line of lines) {
        assert.match(line, /^\{"time":/);
        assert.doesNotMatch(line, / at .*:\d+:\d+|stack|ERR_/);
      }
      assert.deepEqual(
        lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 'error'),
        [],
      );
    });
  }
});
