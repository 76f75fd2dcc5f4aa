import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectSession, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { encodeEncryptRequest } from '../../../src/kms/codec/v2.ts';
import { LIMITS } from '../../../src/limits.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
  resetFrame,
} from '../../fuzz/raw-connection.ts';
import { type KmsUnderTest, serveKms } from './kms-under-test.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const EMPTY_SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const ENCRYPT = '/v2.KeyManagementService/Encrypt';
const PLAIN = Buffer.from('a data key of thirty-two bytes!!');

/** A connection of which nothing is expected, so that its end is nobody's error. */
async function open(socket: string): Promise<Socket> {
  const connection = connect(socket);
  connection.on('error', () => connection.destroy());
  connection.resume();
  await once(connection, 'connect');
  return connection;
}

/** `once` would reject at an error; here one is as good an end as any. */
function ended(connection: Socket): Promise<void> {
  if (connection.closed) return Promise.resolve();
  return new Promise((resolve) => connection.on('close', () => resolve()));
}

function sessionOn(socket: string): ClientHttp2Session {
  const session = connectSession('http://localhost', { createConnection: () => connect(socket) });
  session.on('error', () => session.destroy());
  return session;
}

function post(session: ClientHttp2Session, path: string) {
  return session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
}

/** A length-prefixed gRPC message. */
function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

async function statusOf(session: ClientHttp2Session, path: string, body: Buffer): Promise<string> {
  const stream = post(session, path);
  let status = '';
  stream.on('response', (headers) => {
    status = String(headers['grpc-status'] ?? '');
  });
  stream.on('trailers', (trailers) => {
    status = String(trailers['grpc-status'] ?? status);
  });
  stream.resume();
  stream.end(body);
  await once(stream, 'close');
  return status;
}

const INVALID_ARGUMENT = '3';
const RESOURCE_EXHAUSTED = '8';
const UNIMPLEMENTED = '12';

describe('hostile bytes on the socket: the next good call is served', () => {
  const attacks: [string, (kms: KmsUnderTest) => Promise<void>][] = [
    [
      'garbage',
      async ({ socket }) => {
        const connection = await open(socket);
        connection.write(Buffer.alloc(64 * 1024, 0xa5));
        await ended(connection);
      },
    ],
    [
      'an HTTP/1.1 request',
      async ({ socket }) => {
        const connection = await open(socket);
        connection.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
        await ended(connection);
      },
    ],
    [
      'half a preface, then the end',
      async ({ socket }) => {
        const connection = await open(socket);
        connection.end(PREFACE.subarray(0, 11));
        await ended(connection);
      },
    ],
    [
      'a good start, then garbage frames',
      async ({ socket }) => {
        const connection = await open(socket);
        connection.write(Buffer.concat([PREFACE, EMPTY_SETTINGS, Buffer.alloc(4096, 0xff)]));
        await ended(connection);
      },
    ],
    [
      'a header block that never ends',
      async ({ socket }) => {
        const connection = await open(socket);
        const frame = (type: number): Buffer => {
          const bytes = Buffer.alloc(9 + 16_384, 0x40);
          bytes.writeUIntBE(16_384, 0, 3);
          bytes[3] = type;
          bytes[4] = 0;
          bytes.writeUInt32BE(1, 5);
          return bytes;
        };
        connection.write(Buffer.concat([PREFACE, EMPTY_SETTINGS, frame(1)]));
        for (let i = 0; i < 64 && !connection.destroyed; i += 1) connection.write(frame(9));
        connection.end();
        await ended(connection);
      },
    ],
    [
      'a thousand connections at once that say nothing',
      async ({ client, socket }) => {
        const connections = await Promise.all(Array.from({ length: 1_000 }, () => open(socket)));
        assert.equal((await client.v2.status()).healthz, 'ok');
        for (const connection of connections) connection.destroy();
      },
    ],
    [
      'streams that are reset in the middle of a call',
      async ({ socket }) => {
        const session = sessionOn(socket);
        for (let i = 0; i < 50; i += 1) {
          const stream = post(session, ENCRYPT);
          stream.on('error', () => stream.destroy());
          stream.write(framed(encodeEncryptRequest({ plaintext: PLAIN, uid: 'u' })));
          stream.close(constants.NGHTTP2_CANCEL);
          await once(stream, 'close');
        }
        session.destroy();
      },
    ],
    [
      'a connection that is cut in the middle of a call',
      async ({ socket }) => {
        const session = sessionOn(socket);
        const stream = post(session, ENCRYPT);
        stream.on('error', () => stream.destroy());
        stream.write(framed(encodeEncryptRequest({ plaintext: PLAIN, uid: 'u' })));
        session.destroy();
        await once(session, 'close');
      },
    ],
  ];
  for (const [name, attack] of attacks) {
    it(name, { timeout: 30_000 }, async (t) => {
      const kms = await serveKms(t);
      await attack(kms);
      const encrypted = await kms.client.v2.encrypt(PLAIN, 'after');
      const { plaintext } = await kms.client.v2.decrypt({ ...encrypted, uid: 'after' });
      assert.deepEqual(Buffer.from(plaintext), PLAIN);
    });
  }

  it('a client that sends one byte at a time is served like any other', {
    timeout: 30_000,
  }, async (t) => {
    const { socket } = await serveKms(t);
    const session = connectSession('http://localhost', {
      createConnection: () => byteByByte(connect(socket)),
    });
    assert.equal(
      await statusOf(session, '/v2.KeyManagementService/Status', framed(Buffer.alloc(0))),
      '0',
    );
    session.destroy();
  });
});

/** The socket, but each byte that is written to it travels alone. */
function byteByByte(socket: Socket): Duplex {
  return new Duplex({
    read: () => socket.resume(),
    write(chunk: Buffer, _encoding, done) {
      const last = chunk.length - 1;
      for (const [i, byte] of chunk.entries()) {
        socket.write(Buffer.of(byte), i === last ? () => done() : undefined);
      }
    },
    final: (done) => void socket.end(() => done()),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
    construct(done) {
      socket.on('data', (chunk) => this.push(chunk));
      socket.on('end', () => this.push(null));
      done();
    },
  });
}

describe('a call that does not keep to the protocol is refused in words', () => {
  const refused: [string, string, Buffer, string][] = [
    ['an unknown method', '/v2.KeyManagementService/Steal', framed(Buffer.alloc(0)), UNIMPLEMENTED],
    [
      'an unknown service',
      '/v3.KeyManagementService/Status',
      framed(Buffer.alloc(0)),
      UNIMPLEMENTED,
    ],
    ['a message that is none', ENCRYPT, framed(Buffer.from([0x0a, 0xff, 0x01])), INVALID_ARGUMENT],
    ['a message of a megabyte', ENCRYPT, framed(Buffer.alloc(1 << 20)), RESOURCE_EXHAUSTED],
    [
      'a message that claims four gigabytes',
      ENCRYPT,
      Buffer.from([0, 0xff, 0xff, 0xff, 0xff]),
      RESOURCE_EXHAUSTED,
    ],
  ];
  for (const [name, path, body, expected] of refused) {
    it(name, { timeout: 30_000 }, async (t) => {
      const { client, socket } = await serveKms(t);
      const session = sessionOn(socket);
      assert.equal(await statusOf(session, path, body), expected);
      session.destroy();
      assert.equal((await client.v2.status()).healthz, 'ok');
    });
  }
});

describe('headers of a call that would be kept for as long as it lasts', () => {
  const call = async (t: TestContext, more: Record<string, string>): Promise<string> => {
    const { socket } = await serveKms(t);
    const one = await openConnection(socket);
    t.after(() => one.socket.destroy());
    const headers = createHeaderWriter('localhost', false);
    const path = '/v2.KeyManagementService/Status';
    const message = lastData(1, prefixed(Buffer.alloc(0)));
    one.socket.write(Buffer.concat([OPENING, headers.headers(1, path, more), message]));
    await one.until(() => one.ends.has(1));
    return one.ends.get(1) ?? 'closed';
  };
  const long = 'x'.repeat(LIMITS.keptHeaderBytes);
  for (const [what, more, end] of [
    ['a long authority', { ':authority': long }, 'RST_STREAM 11'],
    ['a long path', { ':path': `/${long}` }, 'RST_STREAM 11'],
    ['a long host', { host: long }, 'RST_STREAM 11'],
    ['the path of a socket', { ':authority': 'x'.repeat(200) }, 'grpc-status 0'],
    ['a long type', { 'content-type': `application/grpc+${long}` }, 'grpc-status 0'],
    ['a long header that nobody needs', { 'x-trace': long.repeat(8) }, 'grpc-status 0'],
  ] as const) {
    it(`${what}: ${end}`, async (t) => assert.equal(await call(t, more), end));
  }
});

it('as many calls as kube-apiserver has at most, cancelled at once, leave places for as many more', async (t) => {
  const { socket } = await serveKms(t);
  const one = await openConnection(socket);
  t.after(() => one.socket.destroy());
  const headers = createHeaderWriter();
  const most = 256;
  const cancelled = Array.from({ length: most }, (_, i) => 2 * i + 1);
  const next = cancelled.map((stream) => stream + 2 * most);
  const last = 4 * most + 1;
  one.socket.write(OPENING);
  one.socket.write(Buffer.concat(cancelled.map((stream) => headers.headers(stream, ENCRYPT))));
  // Answered behind them: the server has begun them.
  const status = '/v2.KeyManagementService/Status';
  const first = next.shift() ?? 0;
  one.socket.write(
    Buffer.concat([headers.headers(first, status), lastData(first, prefixed(Buffer.alloc(0)))]),
  );
  await one.until(() => one.ends.has(first));
  next.push(last);
  one.socket.write(
    Buffer.concat([
      ...cancelled.map((stream) => resetFrame(stream, constants.NGHTTP2_CANCEL)),
      ...next.map((stream) => headers.headers(stream, '/v2.KeyManagementService/Status')),
      ...next.map((stream) => lastData(stream, prefixed(Buffer.alloc(0)))),
    ]),
  );
  await one.until(() => next.every((stream) => one.ends.has(stream)));
  assert.deepEqual([...new Set(next.map((stream) => one.ends.get(stream)))], ['grpc-status 0']);
});

describe('calls that end without a whole message', () => {
  for (const [what, data] of [
    ['nothing', Buffer.alloc(0)],
    ['a part of its prefix', prefixed(Buffer.alloc(0)).subarray(0, 3)],
    ['a part', prefixed(Buffer.alloc(9)).subarray(0, 9)],
  ] as const) {
    it(`of which ${what} has come are all answered, also those that wait for a turn`, {
      timeout: 30_000,
    }, async (t) => {
      const { socket } = await serveKms(t);
      const connection = await openConnection(socket);
      t.after(() => connection.socket.destroy());
      const headers = createHeaderWriter();
      const streams = Array.from({ length: 3 * LIMITS.callsPerTurn }, (_, i) => 2 * i + 1);
      const calls = streams.map((stream) =>
        Buffer.concat([headers.headers(stream, ENCRYPT), lastData(stream, data)]),
      );
      connection.socket.write(Buffer.concat([OPENING, ...calls]));
      await connection.until(() => streams.every((stream) => connection.ends.has(stream)));
      assert.deepEqual([...new Set(connection.ends.values())], ['grpc-status 12']);
    });
  }
});
