import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { keyId } from '../../../src/keyring/key-id.ts';
import { statusMethod } from '../../../src/kms/v2.ts';
import { LIMITS } from '../../../src/limits.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
  type RawConnection,
} from '../../fuzz/raw-connection.ts';
import { frame, PING, WINDOW_UPDATE } from '../authority/http2-bytes.ts';
import { serving } from './serving.ts';

const STATUS = '/v2.KeyManagementService/Status';
const KEY_ID = keyId(['fake', 'key'], { version: 1, createdAt: 0 });
const WHOLE = prefixed(Buffer.alloc(0));
const LIMIT = { timeout: 60_000 };

/** A server of Status alone. */
async function serve(t: TestContext) {
  const status = statusMethod(() => ({ ok: true, value: { healthz: 'ok', keyId: KEY_ID } }));
  const { kms, path } = await serving(t, status);
  const open = async (): Promise<RawConnection> => {
    const connection = await openConnection(path);
    t.after(() => connection.socket.destroy());
    connection.socket.write(OPENING);
    // Room for all answers: nothing renews it.
    connection.socket.write(frame(WINDOW_UPDATE, 0, 0, Buffer.of(0x40, 0, 0, 0)));
    return connection;
  };
  return { kms, path, open };
}

/** Many calls of Status at once, again and again on one connection: how each of them has ended. */
function caller(connection: RawConnection, count: number): () => Promise<readonly string[]> {
  const headers = createHeaderWriter();
  let next = 1;
  return async () => {
    const streams = Array.from({ length: count }, (_, i) => next + 2 * i);
    next += 2 * count;
    connection.socket.write(
      Buffer.concat(
        streams.flatMap((stream) => [headers.headers(stream, STATUS), lastData(stream, WHOLE)]),
      ),
    );
    await connection.until(() => streams.every((stream) => connection.ends.has(stream)));
    return [...new Set(streams.map((stream) => connection.ends.get(stream) ?? 'closed'))];
  };
}

/** Not even what the socket itself would read ahead. */
function readNothing(socket: Socket): void {
  (socket as unknown as { readonly _handle: { readStop(): void } })._handle.readStop();
}

describe('a client that does not read', () => {
  it(
    'keeps nobody else from being read, who sends more than a turn has room for',
    LIMIT,
    async (t) => {
      const { open } = await serve(t);
      const call = caller(await open(), LIMITS.reservedCallsPerConnection);
      const most = caller(await open(), LIMITS.framesPerTurn);
      for (const one of [call, most]) assert.deepEqual(await one(), ['grpc-status 0']);
      const perConnection = LIMITS.streamsPerConnection - 1;
      for (let i = 0; i * perConnection < 2 * LIMITS.calls; i += 1) {
        const { socket } = await open();
        readNothing(socket);
        const headers = createHeaderWriter();
        for (let stream = 0; stream < perConnection; stream += 1) {
          socket.write(headers.headers(2 * stream + 1, STATUS));
        }
      }
      for (let i = 0; i < 20; i += 1) {
        assert.deepEqual(await call(), ['grpc-status 0']);
        // Each of them is answered, be it with a refusal.
        assert.ok((await most()).every((end) => end !== 'closed'));
      }
    },
  );

  it('keeps no stop from its end', LIMIT, async (t) => {
    const { kms, open } = await serve(t);
    const one = await open();
    const headers = createHeaderWriter();
    const call = (stream: number): Buffer =>
      Buffer.concat([headers.headers(stream, STATUS), lastData(stream, WHOLE)]);
    one.socket.write(call(1));
    await one.until(() => one.ends.has(1));
    readNothing(one.socket);
    const pings = Buffer.concat(Array(20_000).fill(frame(PING, 0, 0, Buffer.alloc(8))));
    one.socket.write(pings);
    const other = await open();
    await caller(other, 1)();
    await kms.drain(100);
    assert.equal(kms.open().sessions, 0);
  });
});
