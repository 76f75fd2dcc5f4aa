import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { describe, it } from 'node:test';
import { acceptCounted } from '../../../src/kms/accept.ts';
import type { Connection } from '../../../src/kms/counted.ts';
import { createTraffic } from '../../../src/kms/traffic.ts';
import { LIMITS } from '../../../src/limits.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
} from '../../fuzz/raw-connection.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const CALL = Buffer.concat([
  createHeaderWriter().headers(1, '/'),
  lastData(1, prefixed(Buffer.alloc(0))),
]);

describe('a connection that begins', () => {
  const pause = (connection: Connection): void => connection.pause();
  const resume = (connection: Connection): void => connection.resume();
  for (const [what, ...steps] of [
    ['is read on in the turn in which it begins', resume],
    ['is paused and read on in it', pause, resume],
    ['is read on twice', resume, resume],
  ] as const) {
    it(`${what}, and is served`, async (t) => {
      const http2 = createHttp2Server();
      http2.on('stream', (stream) => {
        stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true });
      });
      let accepted: Connection | undefined;
      const traffic = createTraffic(LIMITS);
      const server = createServer({ pauseOnConnect: true }, (socket) => {
        const stepping = {
          ...traffic,
          opened(connection: Connection) {
            accepted = connection;
            return traffic.opened(connection);
          },
          begin(_bytes: number, begin: () => void) {
            begin();
            for (const step of steps) if (accepted !== undefined) step(accepted);
          },
        };
        const options = { refused: assert.fail, lastDescriptors: Number.POSITIVE_INFINITY };
        acceptCounted(socket, stepping, options, (stream) => http2.emit('connection', stream));
      });
      const path = join(temporaryFolder(t), 'kms.sock');
      server.listen(path);
      await once(server, 'listening');
      const one = await openConnection(path);
      t.after(async () => {
        one.socket.destroy();
        server.close();
        await once(server, 'close');
      });
      one.socket.write(Buffer.concat([OPENING, CALL]));
      await one.until(() => one.ends.has(1));
      assert.equal(one.ends.get(1), 'grpc-status 0');
    });
  }
});

describe('a connection whose headers are rewritten', () => {
  it('is not read on by Node while it is paused', async (t) => {
    const traffic = createTraffic(LIMITS);
    const begun = Promise.withResolvers<[Duplex, Connection]>();
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      const options = { refused: assert.fail, lastDescriptors: Number.POSITIVE_INFINITY };
      acceptCounted(socket, traffic, options, (...both) => begun.resolve(both));
    });
    const path = join(temporaryFolder(t), 'kms.sock');
    server.listen(path);
    await once(server, 'listening');
    const one = await openConnection(path);
    t.after(async () => {
      one.socket.destroy();
      server.close();
      await once(server, 'close');
    });
    const block = createHeaderWriter('/run/kms.sock', false).headers(1, '/');
    one.socket.write(Buffer.concat([OPENING, block]));
    const [stream, connection] = await begun.promise;
    stream.resume();
    assert.equal(stream.isPaused(), false);
    connection.pause();
    stream.resume();
    assert.equal(stream.isPaused(), true);
    connection.resume();
    assert.equal(stream.isPaused(), false);
  });
});
