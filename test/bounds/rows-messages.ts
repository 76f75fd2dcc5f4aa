/** The rows of the limits table that count messages and their bytes. */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { encodeEncryptRequest } from '../../src/kms/codec/v1beta1.ts';
import { LIMITS } from '../../src/limits.ts';
import {
  createHeaderWriter,
  lastData,
  prefixed,
  type RawConnection,
} from '../fuzz/raw-connection.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { DATA, frame } from '../unit/authority/http2-bytes.ts';
import {
  callsOf,
  connections,
  ENCRYPT,
  ENCRYPT_V1,
  EXHAUSTED,
  encryptOf,
  endsOf,
  leave,
  NOTHING,
  OK,
  STATUS,
  statusWith,
  streams,
  UNIMPLEMENTED,
} from './clients.ts';
import { allEnded, assertEnds, assertServed, type BoundRow, ENDS_MS } from './row.ts';

const CALLS = 40;

export const oneMessage: BoundRow = {
  async drive(plugin, times) {
    const client = new Client(`unix:${plugin.socket}`, credentials.createInsecure());
    const asIs = (bytes: Buffer): Buffer => bytes;
    const message = statusWith(times * LIMITS.messageBytes - 10);
    const codes = await Promise.all(
      Array.from({ length: CALLS }, () => {
        const { promise, resolve } = Promise.withResolvers<number>();
        const done = (error: ServiceError | null): void => resolve(error?.code ?? status.OK);
        client.makeUnaryRequest(STATUS, asIs, asIs, message, done);
        return promise;
      }),
    );
    client.close();
    assert.deepEqual([...new Set(codes)], [times === 1 ? status.OK : status.RESOURCE_EXHAUSTED]);
  },
};

/** Frames of one byte, and as many of them as there may be. */
export const pieces: BoundRow = {
  async drive(plugin, times) {
    const all = await connections(plugin, 4);
    const ids = streams(10);
    const wanted = times * LIMITS.messagePieces;
    const plaintext = wanted - prefixed(encryptOf(wanted)).length + wanted;
    const message = prefixed(encryptOf(plaintext));
    for (const { socket } of all) {
      const writer = createHeaderWriter();
      for (const id of ids) {
        const frames = [...message.subarray(0, -1)].map((byte) =>
          frame(DATA, 0, id, Buffer.of(byte)),
        );
        const last = lastData(id, message.subarray(-1));
        socket.write(Buffer.concat([writer.headers(id, ENCRYPT), ...frames, last]));
      }
    }
    await allEnded(all, all.length * ids.length);
    assertEnds(all, times === 1 ? OK : 'RST_STREAM 1');
    await leave(all);
  },
};

export const compressed: BoundRow = {
  async drive(plugin, times) {
    const all = await connections(plugin, 4);
    const bomb = gzipSync(Buffer.alloc(times * 1024 * 1024)).subarray(0, 1_000);
    const ids = streams(times * 30);
    for (const { socket } of all) {
      const writer = createHeaderWriter();
      const frames = ids.flatMap((id) => {
        const more = id % 4 === 1 ? { 'grpc-encoding': ['gzip', 'deflate', 'zstd'][id % 3] } : {};
        return [writer.headers(id, STATUS, more), lastData(id, prefixed(bomb, 1))];
      });
      socket.write(Buffer.concat(frames));
    }
    await allEnded(all, all.length * ids.length);
    assertEnds(all, UNIMPLEMENTED);
    await leave(all);
  },
};

/** Messages of which the first part has come. */
export const bytesOfAll: BoundRow = {
  async drive(plugin, times) {
    const all = await connections(plugin, 10);
    const size = LIMITS.messageBytes - 1_000;
    const part = prefixed(Buffer.alloc(size)).subarray(0, 16_000);
    const most = LIMITS.messageBytesOfAll - (times === 1 ? LIMITS.reservedBytes : 0);
    const ids = streams(Math.floor((times * most) / size / all.length));
    const next = 2 * ids.length + 1;
    for (const { socket } of all) {
      const writer = createHeaderWriter();
      const frames = ids.flatMap((id) => [writer.headers(id, ENCRYPT), frame(DATA, 0, id, part)]);
      socket.write(Buffer.concat(frames));
      socket.write(
        Buffer.concat([writer.headers(next, STATUS), lastData(next, prefixed(NOTHING))]),
      );
    }
    await Promise.all(all.map((one) => one.until(() => one.ends.has(next))));
    const refused = (): number => endsOf(all).get(EXHAUSTED) ?? 0;
    if (times === 1) assert.equal(refused(), 0);
    else {
      const wanted = all.length * ids.length - Math.ceil(LIMITS.messageBytesOfAll / size);
      await waitUntil('calls that are refused', ENDS_MS, () => refused() >= wanted);
    }
    assertEnds(all, OK, ...(times === 1 ? [] : [EXHAUSTED]));
    await leave(all);
  },
};

const UNREAD_CONNECTIONS = 100;
/** Their answers are more than a socket takes that is not read. */
const UNREAD_CALLS = 6;
const LONG_BYTES = 40_000;
const STATUS_CALLS = 50;

/** Connections whose clients read none of their answers: what the socket does not take is kept. */
export const unreadAnswers: BoundRow = {
  async drive(plugin, times) {
    const all: RawConnection[] = [];
    while (all.length < times * UNREAD_CONNECTIONS) {
      all.push(...(await connections(plugin, UNREAD_CONNECTIONS)));
    }
    const message = encodeEncryptRequest({ version: 'v1beta1', plain: Buffer.alloc(LONG_BYTES) });
    const calls = callsOf(streams(UNREAD_CALLS), ENCRYPT_V1, () => message);
    for (const one of all) {
      one.stopReading();
      one.socket.write(calls);
    }
    for (let i = 0; i < STATUS_CALLS; i += 1) await plugin.client.v2.status();
    await assertServed(plugin);
    await leave(all);
  },
};
