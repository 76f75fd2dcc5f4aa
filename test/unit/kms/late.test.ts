import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { keyId } from '../../../src/keyring/key-id.ts';
import { createKmsServer } from '../../../src/kms/server.ts';
import { statusMethod } from '../../../src/kms/v2.ts';
import { LIMITS } from '../../../src/limits.ts';
import { createLog } from '../../../src/observe/log.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
} from '../../fuzz/raw-connection.ts';
import { DATA, frame, PING, PREFACE, SETTINGS } from '../authority/http2-bytes.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const STATUS = '/v2.KeyManagementService/Status';
const KEY_ID = keyId(['fake', 'key'], { version: 1, createdAt: 0 });
const CANCELLED = 'RST_STREAM 8';
const WHOLE = prefixed(Buffer.alloc(0));
/** SETTINGS_INITIAL_WINDOW_SIZE of 0: no byte of an answer's message may be sent. */
const NO_WINDOW = frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0]));
/** Ages are counted in turns of a timer, of which one has begun. */
const SWEEP_MS = 5_000;
const CALLS = 10;
/** No more than Node takes for a flood. */
const PINGS = Buffer.concat(Array(500).fill(frame(PING, 0, 0, Buffer.alloc(8))));

/** Not even what the socket itself would read ahead. */
function stopReading(socket: Socket): void {
  (socket as unknown as { readonly _handle: { readStop(): void } })._handle.readStop();
}

function readAgain(socket: Socket): void {
  (socket as unknown as { readonly _handle: { readStart(): void } })._handle.readStart();
}

/** A server of Status alone, whose clock the test moves. */
async function serve(t: TestContext) {
  const clock = createDrivenClock();
  const lines: string[] = [];
  const log = createLog({ level: 'info', format: 'json', write: (line) => void lines.push(line) });
  const status = statusMethod(() => ({ ok: true, value: { healthz: 'ok', keyId: KEY_ID } }));
  const kms = createKmsServer([status], { log, clock });
  const server = createServer((socket) => kms.accept(socket));
  const path = join(temporaryFolder(t), 'kms.sock');
  server.listen(path);
  await once(server, 'listening');
  t.after(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    const drained = kms.drain(500);
    while (clock.pending > 0) await clock.advance(1_000);
    await Promise.all([drained, closed]);
  });
  /** One connection, and what a first call that was answered leaves no doubt about: it is served. */
  const connectWith = async (opening: Buffer) => {
    const connection = await openConnection(path);
    const headers = createHeaderWriter();
    connection.socket.write(opening);
    const answered = async (stream: number): Promise<void> => {
      connection.socket.write(
        Buffer.concat([headers.headers(stream, STATUS), lastData(stream, WHOLE)]),
      );
      await connection.until(() => connection.ends.has(stream));
      assert.equal(connection.ends.get(stream), 'grpc-status 0');
    };
    t.after(() => connection.socket.destroy());
    return { connection, headers, answered };
  };
  return { clock, kms, lines, connectWith };
}

describe('a call', () => {
  for (const [what, begun] of [
    ['nothing', Buffer.alloc(0)],
    ['a part of its prefix', WHOLE.subarray(0, 3)],
    ['a part', Buffer.concat([prefixed(Buffer.alloc(9)).subarray(0, 9)])],
  ] as const) {
    it(`of whose message ${what} has come is reset after its time, and not before`, {
      timeout: 20_000,
    }, async (t) => {
      const { clock, lines, connectWith } = await serve(t);
      const { connection, headers, answered } = await connectWith(OPENING);
      await answered(1);
      const data = begun.length === 0 ? [] : [frame(0, 0, 3, begun)];
      connection.socket.write(Buffer.concat([headers.headers(3, STATUS), ...data]));
      await answered(5);
      await clock.advance(LIMITS.messageMs - 1);
      await answered(7);
      assert.equal(connection.ends.has(3), false);
      await clock.advance(2 * SWEEP_MS);
      await connection.until(() => connection.ends.has(3));
      assert.equal(connection.ends.get(3), CANCELLED);
      await answered(9);
      assert.match(lines.join(''), /their message did not come in time/);
    });
  }

  for (const [what, data, withinMs] of [
    ['of whose message nothing has come', Buffer.alloc(0), LIMITS.messageMs],
    ['whose client does not end its request', WHOLE, LIMITS.callMs],
  ] as const) {
    it(`${what} has no place any more after its time, also where its client does not read`, {
      timeout: 60_000,
    }, async (t) => {
      const { clock, kms, connectWith } = await serve(t);
      const reader = await connectWith(OPENING);
      const { connection, headers, answered } = await connectWith(OPENING);
      await answered(1);
      connection.socket.write(
        Buffer.concat(
          Array.from({ length: CALLS }, (_, i) => [
            headers.headers(2 * i + 3, STATUS, { 'grpc-timeout': '20m' }),
            ...(data.length === 0 ? [] : [frame(DATA, 0, 2 * i + 3, data)]),
          ]).flat(),
        ),
      );
      let stream = 1;
      const goOn = (): Promise<void> => {
        stream += 2;
        return reader.answered(stream);
      };
      while (kms.open().calls < CALLS) await goOn();
      stopReading(connection.socket);
      // Until the server reads no more of it: it answers each of them.
      while (connection.socket.writableLength === 0) {
        connection.socket.write(PINGS);
        for (let i = 0; i < 3; i += 1) await goOn();
      }
      await clock.advance(withinMs + 2 * SWEEP_MS);
      await goOn();
      assert.equal(kms.open().calls, 0);
    });
  }

  for (const [what, timeout, end] of [
    ['without a deadline', {}, CANCELLED],
    ['with a deadline', { 'grpc-timeout': '20m' }, 'grpc-status 4'],
  ] as const) {
    it(`whose client does not end its request, ${what}, is reset alone after its time`, {
      timeout: 20_000,
    }, async (t) => {
      const { clock, lines, connectWith } = await serve(t);
      const { connection, headers, answered } = await connectWith(OPENING);
      connection.socket.write(
        Buffer.concat([headers.headers(1, STATUS, timeout), frame(DATA, 0, 1, WHOLE)]),
      );
      await answered(3);
      if (end !== CANCELLED) await connection.until(() => connection.ends.has(1));
      await clock.advance(LIMITS.callMs - 1);
      await answered(5);
      assert.deepEqual(lines, []);
      await clock.advance(2 * SWEEP_MS);
      await connection.until(() => connection.ends.has(1));
      assert.equal(connection.ends.get(1), end);
      await answered(7);
      assert.match(lines.join(''), /their client did not end its request/);
      assert.doesNotMatch(lines.join(''), /does not read/);
    });
  }

  it('that was refused, and whose client reads it late, ends with the words or as one to repeat', {
    timeout: 60_000,
  }, async (t) => {
    const { clock, kms, connectWith } = await serve(t);
    const reader = await connectWith(OPENING);
    const { connection, headers, answered } = await connectWith(OPENING);
    await answered(1);
    let next = 1;
    const goOn = (): Promise<void> => {
      next += 2;
      return reader.answered(next);
    };
    stopReading(connection.socket);
    const refused: number[] = [];
    // Some are refused after the socket has taken the last that it takes.
    while (connection.socket.writableLength === 0) {
      const ids = Array.from({ length: 80 }, (_, i) => 2 * (refused.length + i) + 3);
      refused.push(...ids);
      const calls = ids.flatMap((id) => [
        headers.headers(id, STATUS, { 'grpc-encoding': 'gzip' }),
        lastData(id, WHOLE),
      ]);
      connection.socket.write(Buffer.concat([PINGS, ...calls]));
      for (let i = 0; i < 5; i += 1) await goOn();
    }
    await clock.advance(2 * SWEEP_MS);
    await goOn();
    await clock.advance(SWEEP_MS);
    await goOn();
    assert.equal(kms.open().calls, 0);
    readAgain(connection.socket);
    // It may be ended for its pings: what has come of the others is what counts.
    await connection.until(() => refused.every((id) => connection.ends.has(id)));
    const ends = refused.flatMap((id) => connection.ends.get(id) ?? []);
    assert.ok(ends.length > CALLS);
    for (const end of ends) assert.ok(['grpc-status 12', 'RST_STREAM 7'].includes(end), end);
  });

  it('whose answer is not read ends its connection after its time, and not before', {
    timeout: 20_000,
  }, async (t) => {
    const { clock, lines, connectWith } = await serve(t);
    const reader = await connectWith(OPENING);
    const { connection, headers } = await connectWith(Buffer.concat([PREFACE, NO_WINDOW]));
    connection.socket.write(Buffer.concat([headers.headers(1, STATUS), lastData(1, WHOLE)]));
    await reader.answered(1);
    await clock.advance(LIMITS.callMs - 1);
    await reader.answered(3);
    assert.equal(connection.isClosed(), false);
    await clock.advance(2 * SWEEP_MS);
    await connection.closed;
    assert.equal(connection.ends.has(1), false);
    await reader.answered(5);
    assert.match(lines.join(''), /their client does not read its answers/);
  });
});
