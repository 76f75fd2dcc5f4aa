import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readPiecewise } from '../../../src/kms/authority/piecewise.ts';
import { LIMITS } from '../../../src/limits.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const SENT = Buffer.from(Array.from({ length: 40_000 }, (_, i) => i % 251));

describe('a socket that is read piecewise', () => {
  it('is read in pieces of a few kilobytes, and not while it is paused', {
    timeout: 10_000,
  }, async (t) => {
    const path = join(temporaryFolder(t), 'some.sock');
    const server = createServer({ pauseOnConnect: true });
    server.listen(path);
    t.after(() => server.close());
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const client = connect(path);
    t.after(() => client.destroy());
    client.end(SENT);
    const [socket] = await accepted;
    t.after(() => socket.destroy());
    const pieces: Buffer[] = [];
    let isPaused = false;
    readPiecewise(socket, (piece) => {
      assert.equal(isPaused, false);
      pieces.push(piece);
      isPaused = true;
      socket.pause();
      setImmediate(() => {
        isPaused = false;
        socket.resume();
      });
    });
    await once(socket, 'end');
    assert.deepEqual(Buffer.concat(pieces), SENT);
    assert.ok(pieces.every(({ length }) => length <= LIMITS.firstBytes));
  });
});
