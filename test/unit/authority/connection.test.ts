import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectSession } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { createDrivenClock } from '../driven-clock.ts';
import {
  createRawClient,
  DATA,
  EMPTY_SETTINGS,
  frame,
  GOAWAY,
  HEADERS,
  headerFrames,
  PING,
  PREFACE,
  SETTINGS,
  SETTINGS_ACK,
} from './http2-bytes.ts';
import type { Form } from './rfc7541.ts';
import { asIs, ECHO, openRaw, type Served, serveEcho } from './served.ts';

const PATH = '/var/run/kms.sock';
const MESSAGE = Buffer.from('thirty-two bytes of a data key..');
const LIMIT = { timeout: 20_000 };

/** A call as any client makes it; proof that the server still serves. */
async function assertServes(t: TestContext, served: Served): Promise<void> {
  const raw = await openRaw(t, served.path);
  const client = createRawClient('localhost', ECHO);
  raw.socket.write(client.opening);
  await raw.frame(SETTINGS);
  raw.socket.write(client.call(MESSAGE, '3S'));
  assert.equal(await raw.ended(1), '0');
  raw.socket.destroy();
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`still not: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

describe('a client that sends the path of the socket as its authority', LIMIT, () => {
  const forms: readonly (readonly [string, Form])[] = [
    ['in Huffman code', { indexing: 'incremental', nameIndex: true, huffman: true }],
    ['plain', { indexing: 'incremental', nameIndex: true, huffman: false }],
    ['never indexed', { indexing: 'never', nameIndex: true, huffman: true }],
    ['with its name spelled out', { indexing: 'without', nameIndex: false, huffman: true }],
  ];
  for (const [how, form] of forms) {
    it(`is served for many calls, long after its table has evicted the first: ${how}`, async (t) => {
      const served = await serveEcho(t);
      const raw = await openRaw(t, served.path);
      const client = createRawClient(PATH, ECHO, form);
      raw.socket.write(client.opening);
      await raw.frame(SETTINGS);
      const calls = 400;
      for (let i = 0; i < calls; i++) raw.socket.write(client.call(MESSAGE, `${2_000_000 + i}u`));
      for (let i = 0; i < calls; i++) assert.equal(await raw.ended(2 * i + 1), '0');
      assert.deepEqual([...new Set(served.hosts)], ['.var.run.kms.sock']);
      assert.equal(served.hosts.length, calls);
      assert.equal(served.accepted[0]?.handed, 'wrapped');
    });
  }

  it('is served when its bytes come one at a time, its block in three frames', async (t) => {
    const served = await serveEcho(t);
    const raw = await openRaw(t, served.path, { acknowledges: false });
    const client = createRawClient('@kms', ECHO);
    const framing = { padding: 3, priority: true, cuts: [0.3, 0.6] };
    const bytes = Buffer.concat([client.opening, client.call(MESSAGE, '3S', framing)]);
    for (const byte of bytes) {
      raw.socket.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await raw.ended(1), '0');
    assert.deepEqual(served.hosts, ['$kms']);
  });

  it('is refused before any method sees its call, where its authority cannot be mended', async (t) => {
    const served = await serveEcho(t);
    const raw = await openRaw(t, served.path);
    const client = createRawClient('', ECHO);
    raw.socket.write(client.opening);
    raw.socket.write(client.call(MESSAGE, '3S'));
    // By nghttp2 with PROTOCOL_ERROR; Deno's HTTP/2 closes the connection.
    assert.match(await raw.ended(1), /^(RST_STREAM 1|connection closed)$/);
    assert.deepEqual(served.hosts, []);
    await assertServes(t, served);
  });
});

describe('a client with a good authority', LIMIT, () => {
  const opening = Buffer.concat([PREFACE, EMPTY_SETTINGS]);
  /** What it writes, piece by piece; each follows when the one before has arrived. */
  const orders: Record<string, (call: Buffer) => readonly Buffer[]> = {
    'acknowledges, then calls': (call) => [opening, SETTINGS_ACK, call],
    'acknowledges and calls in one write': (call) => [opening, Buffer.concat([SETTINGS_ACK, call])],
    'calls without waiting': (call) => [Buffer.concat([opening, call]), SETTINGS_ACK],
    'writes everything at once': (call) => [Buffer.concat([opening, SETTINGS_ACK, call])],
    'calls, then acknowledges in the midst of its next frame': (call) => [
      Buffer.concat([opening, call, SETTINGS_ACK.subarray(0, 4)]),
      SETTINGS_ACK.subarray(4),
    ],
    'has written half of its message by then': (call) => [
      opening,
      Buffer.concat([SETTINGS_ACK, call.subarray(0, -20)]),
      call.subarray(-20),
    ],
    "has written half of a frame's header by then": (call) => {
      const half = 9 + call.readUIntBE(0, 3) + 4;
      return [opening, Buffer.concat([SETTINGS_ACK, call.subarray(0, half)]), call.subarray(half)];
    },
    'writes byte by byte': (call) =>
      [...Buffer.concat([opening, SETTINGS_ACK, call])].map((byte) => Buffer.of(byte)),
  };
  for (const [what, pieces] of Object.entries(orders)) {
    it(`gets the bare socket when it ${what}`, async (t) => {
      const clock = createDrivenClock();
      const served = await serveEcho(t, clock);
      const raw = await openRaw(t, served.path, { acknowledges: false });
      const client = createRawClient('localhost', ECHO);
      let written = 0;
      for (const piece of pieces(client.call(MESSAGE, '3S'))) {
        raw.socket.write(piece);
        written += piece.length;
        await until(() => served.accepted[0]?.socket.bytesRead === written);
      }
      assert.equal(await raw.ended(1), '0');
      // The server's own SETTINGS are not acknowledged before this.
      raw.socket.write(SETTINGS_ACK);
      for (let i = 1; i < 50; i++) raw.socket.write(client.call(MESSAGE, `${i}S`));
      assert.equal(await raw.ended(99), '0');
      assert.equal(served.accepted[0]?.handed, 'bare');
      assert.equal(served.hosts.length, 50);
      assert.equal(clock.pending, 0);
    });
  }

  it('leaves nothing of ours on its socket once that is handed over', async (t) => {
    const events = ['data', 'readable', 'end', 'error', 'close', 'timeout', 'drain', 'pause'];
    const listenersAfterACall = async (served: Served): Promise<string[]> => {
      await assertServes(t, served);
      assert.equal(served.accepted[0]?.handed, 'bare');
      const { socket } = served.accepted[0];
      return events.flatMap((event) => socket.listeners(event).map(({ name }) => name));
    };
    const direct = await serveEcho(t, undefined, (socket, hand) => hand(socket));
    assert.deepEqual(
      await listenersAfterACall(await serveEcho(t)),
      await listenersAfterACall(direct),
    );
  });

  for (const bytes of [16_000, 3_000_000]) {
    it(`is served a first message of ${bytes} bytes`, async (t) => {
      const served = await serveEcho(t);
      const client = grpcClient(t, served, 'localhost');
      const large = Buffer.alloc(bytes, 'large');
      assert.deepEqual(await echo(client, large), large);
    });
  }

  it('is served when it is grpc-js, with many calls at once', async (t) => {
    const served = await serveEcho(t);
    const client = grpcClient(t, served, 'kms.example');
    const replies = await Promise.all(Array.from({ length: 300 }, () => echo(client, MESSAGE)));
    assert.ok(replies.every((reply) => reply.equals(MESSAGE)));
    assert.deepEqual([...new Set(served.hosts)], ['kms.example']);
    assert.equal(served.accepted[0]?.handed, 'bare');
  });

  it("is served when it is Node's HTTP/2, which calls before it hears from the server", async (t) => {
    const served = await serveEcho(t);
    for (let round = 0; round < 20; round++) {
      const session = connectSession('http://localhost', {
        createConnection: () => connect(served.path),
      });
      t.after(() => session.destroy());
      const stream = session.request({
        ':method': 'POST',
        ':path': ECHO,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      stream.end(Buffer.concat([Buffer.of(0, 0, 0, 0, MESSAGE.length), MESSAGE]));
      stream.resume();
      const [trailers] = await once(stream, 'trailers');
      assert.equal(trailers['grpc-status'], '0');
      session.close();
    }
    assert.ok(served.accepted.every(({ handed }) => handed === 'bare'));
  });
});

describe('a client that does not come to a first call', LIMIT, () => {
  it('is handed over after ten seconds, and served when it calls at last', async (t) => {
    for (const [authority, host] of [
      ['localhost', 'localhost'],
      [PATH, '.var.run.kms.sock'],
    ] as const) {
      const clock = createDrivenClock();
      const served = await serveEcho(t, clock);
      const raw = await openRaw(t, served.path);
      const client = createRawClient(authority, ECHO);
      raw.socket.write(client.opening);
      await until(() => served.accepted[0]?.socket.bytesRead === client.opening.length + 9);
      await clock.advance(9_999);
      assert.equal(served.accepted[0]?.handed, undefined);
      await clock.advance(1);
      assert.equal(served.accepted[0]?.handed, 'wrapped');
      raw.socket.write(client.call(MESSAGE, '3S'));
      assert.equal(await raw.ended(1), '0');
      assert.deepEqual(served.hosts, [host]);
      assert.equal(clock.pending, 0);
    }
  });

  it('is handed over at once where it asks for something else, such as PING', async (t) => {
    const served = await serveEcho(t);
    const raw = await openRaw(t, served.path);
    raw.socket.write(Buffer.concat([PREFACE, EMPTY_SETTINGS, frame(PING, 0, 0, Buffer.alloc(8))]));
    await raw.frame(PING);
    assert.equal(served.accepted[0]?.handed, 'wrapped');
  });

  it('is served, a quarter of a second late, where it never acknowledges SETTINGS', async (t) => {
    const clock = createDrivenClock();
    const served = await serveEcho(t, clock);
    const raw = await openRaw(t, served.path, { acknowledges: false });
    const client = createRawClient('localhost', ECHO);
    const bytes = Buffer.concat([client.opening, client.call(MESSAGE, '3S')]);
    raw.socket.write(bytes);
    await until(() => served.accepted[0]?.socket.bytesRead === bytes.length);
    const more = client.call(MESSAGE, '3S');
    raw.socket.write(more);
    await until(() => served.accepted[0]?.socket.bytesRead === bytes.length + more.length);
    assert.equal(served.accepted[0]?.handed, undefined);
    await clock.advance(250);
    assert.equal(served.accepted[0]?.handed, 'wrapped');
    assert.equal(await raw.ended(3), '0');
    // The first ACK is that of SETTINGS which the server knows nothing of.
    raw.socket.write(Buffer.concat([SETTINGS_ACK, SETTINGS_ACK, client.call(MESSAGE, '3S')]));
    assert.equal(await raw.ended(5), '0');
    assert.equal(clock.pending, 0);
  });

  it('is handed over where it sends without end instead of acknowledging', async (t) => {
    const clock = createDrivenClock();
    const served = await serveEcho(t, clock);
    const raw = await openRaw(t, served.path, { acknowledges: false });
    const client = createRawClient('localhost', ECHO);
    raw.socket.write(client.opening);
    for (let i = 0; i < 20; i++) raw.socket.write(frame(DATA, 0, 1, Buffer.alloc(16_384)));
    await until(() => served.accepted[0]?.handed === 'wrapped');
    await raw.closed;
    await assertServes(t, served);
  });

  for (const [what, bytes] of [
    ['nothing', Buffer.alloc(0)],
    ['half a preface', PREFACE.subarray(0, 11)],
  ] as const) {
    it(`is closed after ten seconds where it has sent ${what}`, async (t) => {
      const clock = createDrivenClock();
      const served = await serveEcho(t, clock);
      const raw = await openRaw(t, served.path, { acknowledges: false });
      raw.socket.write(bytes);
      await until(() => served.accepted[0]?.socket.bytesRead === bytes.length);
      await clock.advance(10_000);
      await raw.closed;
      assert.equal(served.accepted[0]?.handed, undefined);
      assert.equal(clock.pending, 0);
      await assertServes(t, served);
    });
  }

  for (const leaves of ['end', 'destroy', 'resetAndDestroy'] as const) {
    it(`leaves no timer behind when it goes away, by ${leaves}, amid its headers`, async (t) => {
      const clock = createDrivenClock();
      const served = await serveEcho(t, clock);
      const raw = await openRaw(t, served.path);
      const client = createRawClient(PATH, ECHO);
      const call = client.call(MESSAGE, '3S');
      raw.socket.write(Buffer.concat([client.opening, call.subarray(0, 40)]));
      await until(() => (served.accepted[0]?.socket.bytesRead ?? 0) >= client.opening.length + 40);
      if (leaves === 'resetAndDestroy') {
        // Unix sockets know no RST; unread bytes at close make an ECONNRESET of their own.
        raw.socket.pause();
        served.accepted[0]?.socket.write(Buffer.alloc(100_000));
        raw.socket.destroy();
      } else raw.socket[leaves]();
      await until(() => served.accepted[0]?.socket.closed === true);
      assert.equal(served.accepted[0]?.handed, undefined);
      assert.equal(clock.pending, 0);
      await assertServes(t, served);
    });
  }

  it('costs little, a thousand times', async (t) => {
    const clock = createDrivenClock();
    const served = await serveEcho(t, clock);
    const opening = Buffer.concat([PREFACE, EMPTY_SETTINGS]);
    const clients: Socket[] = [];
    t.after(() => clients.forEach((client) => void client.destroy()));
    // In tens, since more than the backlog of the listener would not be let in.
    while (clients.length < 1000) {
      clients.push(...Array.from({ length: 10 }, () => connect(served.path)));
      for (const client of clients.slice(-10)) client.write(opening);
      await until(() => served.accepted.length === clients.length);
    }
    await until(() => served.accepted.every(({ socket }) => socket.bytesRead === opening.length));
    assert.equal(clock.pending, 1000);
    await assertServes(t, served);
    for (const client of clients) client.destroy();
    await until(() => clock.pending === 0);
  });
});

describe('hostile bytes', LIMIT, () => {
  const client = createRawClient('localhost', ECHO);
  const call = client.call(MESSAGE, '3S');
  const good = Buffer.concat([client.opening, SETTINGS_ACK, call]);
  const bad = createRawClient(PATH, ECHO);
  const mended = Buffer.concat([bad.opening, SETTINGS_ACK, bad.call(MESSAGE, '3S')]);
  const garbage = Buffer.alloc(5_000, 'garbage ');
  const large = headerFrames(3, Buffer.alloc(20_000, 0x82));
  for (const [what, bytes] of [
    ['garbage', garbage],
    ['HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['a preface that goes wrong at its end', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r ')],
    ['garbage behind a preface', Buffer.concat([PREFACE, garbage])],
    ['garbage behind a good call', Buffer.concat([good, garbage])],
    ['garbage behind a mended call', Buffer.concat([mended, garbage])],
    ['a frame larger than allowed', Buffer.concat([PREFACE, EMPTY_SETTINGS, large])],
    ['a frame larger than allowed behind a good call', Buffer.concat([good, large])],
    ['a malformed block', Buffer.concat([client.opening, frame(HEADERS, 5, 1, Buffer.of(0x41))])],
    ['padding without end', Buffer.concat([client.opening, frame(HEADERS, 13, 1, Buffer.of(9))])],
    ['an ACK of SETTINGS that nobody sent', Buffer.concat([good, SETTINGS_ACK, SETTINGS_ACK])],
  ] as const) {
    it(`end the connection, and no other: ${what}`, async (t) => {
      const served = await serveEcho(t);
      const raw = await openRaw(t, served.path, { acknowledges: false });
      raw.socket.write(bytes);
      await Promise.race([raw.closed, raw.frame(GOAWAY)]);
      raw.socket.end();
      await raw.closed;
      await until(() => served.accepted[0]?.socket.closed === true);
      await assertServes(t, served);
    });
  }
});

function grpcClient(t: TestContext, served: Served, authority: string): Client {
  const client = new Client(`unix:${served.path}`, credentials.createInsecure(), {
    'grpc.default_authority': authority,
  });
  t.after(() => client.close());
  return client;
}

function echo(client: Client, message: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 5_000 };
    client.makeUnaryRequest(ECHO, asIs, asIs, message, new Metadata(), options, (error, reply) => {
      if (error !== null) reject(error);
      else resolve(reply ?? Buffer.alloc(0));
    });
  });
}
