import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { acceptConnection } from '../../../src/kms/authority/connection.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import {
  EMPTY_SETTINGS,
  FIRST_SETTINGS,
  frame,
  PING,
  PREFACE,
  SETTINGS_ACK,
} from './http2-bytes.ts';

const LIMIT = { timeout: 10_000 };
/** Has the stream around the socket handed over, since a PING wants an answer. */
const OPENING = Buffer.concat([PREFACE, EMPTY_SETTINGS, frame(PING, 0, 0, Buffer.alloc(8))]);
const MIB = 1024 * 1024;
/** What a kernel and the streams on both sides may hold together; far from what is sent. */
const BUFFERED = 2 * MIB;
const SENT = 16 * MIB;

type Pair = { readonly client: Socket; readonly socket: Socket; readonly stream: Duplex };

/** A client, the accepted socket, and the stream around it, of which nothing is read yet. */
async function pair(t: TestContext, { allowHalfOpen = false } = {}): Promise<Pair> {
  const path = join(temporaryFolder(t), 'kms.sock');
  const handed = Promise.withResolvers<Pair>();
  const listener = createServer({ allowHalfOpen }, (socket) =>
    acceptConnection(socket, (stream) => handed.resolve({ client, socket, stream })),
  );
  listener.listen(path);
  await once(listener, 'listening');
  const client = connect({ path, allowHalfOpen: true });
  client.on('error', () => client.destroy());
  client.write(OPENING);
  const { socket, stream } = await handed.promise;
  assert.notEqual(stream, socket);
  t.after(() => {
    client.destroy();
    socket.destroy();
    listener.close();
  });
  return { client, socket, stream };
}

/** Resolves when nothing has moved for a while. */
async function still(value: () => number): Promise<number> {
  for (let before = -1; before !== value(); ) {
    before = value();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return value();
}

describe('a socket of a listener that allows half-open ones', LIMIT, () => {
  it('is closed when its client ends before its first call', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    const listener = createServer({ allowHalfOpen: true }, (socket) =>
      acceptConnection(socket, () => assert.fail('handed over')),
    );
    t.after(() => listener.close());
    listener.listen(path);
    await once(listener, 'listening');
    const client = connect({ path, allowHalfOpen: true });
    client.end(PREFACE);
    assert.deepEqual(await buffer(client), FIRST_SETTINGS);
    client.destroy();
  });
});

describe('the stream around a socket', LIMIT, () => {
  it('begins with what was read before', async (t) => {
    const { client, stream } = await pair(t);
    client.end(SETTINGS_ACK);
    assert.deepEqual(await buffer(stream), OPENING);
  });

  it('reads no further than it is read, and loses nothing', async (t) => {
    const { client, socket, stream } = await pair(t);
    const payload = frame(0, 0, 1, Buffer.alloc(SENT - 9, 'data'));
    client.end(payload);
    assert.ok((await still(() => socket.bytesRead)) < BUFFERED);
    assert.deepEqual((await buffer(stream)).subarray(OPENING.length), payload);
  });

  it('takes no more than the client reads, and loses nothing', async (t) => {
    const { client, socket, stream } = await pair(t);
    const chunk = Buffer.alloc(65_536, 'data');
    let written = 0;
    const write = (): void => {
      while (written < SENT) {
        written += chunk.length;
        if (!stream.write(chunk)) return;
      }
      stream.end();
    };
    stream.on('drain', write);
    write();
    assert.ok((await still(() => written)) < BUFFERED);
    assert.ok(socket.writableLength <= 2 * chunk.length, `${socket.writableLength} waiting`);
    const received = await buffer(client);
    assert.equal(received.length, FIRST_SETTINGS.length + SENT);
    assert.ok(received.subarray(FIRST_SETTINGS.length).equals(Buffer.alloc(SENT, 'data')));
  });

  it('writes what was corked in one system call', async (t) => {
    const { client, socket, stream } = await pair(t);
    let writes = 0;
    const writev = socket._writev?.bind(socket);
    socket._writev = (chunks, done) => {
      writes += 1;
      writev?.(chunks, done);
    };
    stream.cork();
    const acknowledged = Array.from(
      { length: 10 },
      (_, i) => new Promise((resolve) => stream.write(`${i}`, resolve)),
    );
    stream.uncork();
    await Promise.all(acknowledged);
    stream.end();
    assert.equal((await buffer(client)).subarray(FIRST_SETTINGS.length).toString(), '0123456789');
    assert.equal(writes, 1);
  });

  it('can be written to after the client has ended its side', async (t) => {
    const { client, stream } = await pair(t, { allowHalfOpen: true });
    client.end();
    await buffer(stream.on('end', () => stream.end('answer')));
    assert.equal((await buffer(client)).subarray(FIRST_SETTINGS.length).toString(), 'answer');
  });

  it('gives the rest of the bytes where a client ends amid a frame', async (t) => {
    const { client, stream } = await pair(t);
    const half = frame(1, 0, 1, Buffer.alloc(50)).subarray(0, 30);
    client.end(half);
    assert.deepEqual((await buffer(stream)).subarray(OPENING.length), half);
  });

  it('closes the socket when it is destroyed', async (t) => {
    const { client, socket, stream } = await pair(t);
    const error = new Error('enough');
    const failed = once(stream, 'error');
    stream.destroy(error);
    assert.deepEqual(await failed, [error]);
    client.resume();
    await once(client, 'end');
    assert.equal(socket.destroyed, true);
  });

  it('closes when the socket is destroyed', async (t) => {
    const { socket, stream } = await pair(t);
    const closed = once(stream, 'close');
    socket.destroy();
    await closed;
  });

  it('fails with the error of the socket', async (t) => {
    const { client, stream } = await pair(t);
    stream.resume();
    const failed = once(stream, 'error');
    // Bytes that a client has not read when it closes are told to us as a reset.
    stream.write(Buffer.alloc(MIB));
    client.destroy();
    const [error] = await failed;
    assert.ok(['ECONNRESET', 'EPIPE', 'ECANCELED'].includes(error.code), error.code);
  });
});
