/** The rows of the limits table that count connections, and what comes before calls. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { LIMITS } from '../../src/limits.ts';
import { MAX_CONNECTIONS } from '../../src/observe/admin.ts';
import { askAdmin } from '../daemon/program.ts';
import { createHeaderWriter, type RawConnection } from '../fuzz/raw-connection.ts';
import { vitalsOf } from '../fuzz/vitals.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { CONTINUATION, frame, HEADERS, PREFACE } from '../unit/authority/http2-bytes.ts';
import {
  callsOf,
  connections,
  EXHAUSTED,
  endedOf,
  HELLO,
  leave,
  NOTHING,
  OK,
  STATUS,
  statusWith,
  streams,
} from './clients.ts';
import { assertEnds, assertServed, type BoundRow, ENDS_MS } from './row.ts';

/** Those of the test's own clients. */
const OWN = 8;
const AT_ONCE = 512;
const FRAME_BYTES = 16_000;
const STATUS_CALLS = 300;

export const idle: BoundRow = {
  async drive({ client }) {
    for (let i = 0; i < STATUS_CALLS; i += 1) await client.v2.status();
  },
};

export const manyConnections: BoundRow = {
  async drive(plugin, times) {
    const count = times * LIMITS.connections - (times === 1 ? OWN : 0);
    const all: RawConnection[] = [];
    while (all.length < count) {
      const first = all.length % (2 * AT_ONCE) === 0 ? NOTHING : HELLO;
      all.push(...(await connections(plugin, Math.min(AT_ONCE, count - all.length), first)));
    }
    await assertServed(plugin);
    const open = (): number => all.filter((one) => !one.isClosed()).length;
    if (times === 1) assert.equal(open(), count);
    await waitUntil('the end of the others', ENDS_MS, () => open() <= LIMITS.connections);
    assert.ok(vitalsOf(plugin.process.pid).descriptors < LIMITS.connections + 200);
    await leave(all);
  },
};

/** Of about so many bytes of a header block that does not end. */
function openBlock(bytes: number): Buffer {
  const long = { 'x-long': 'v'.repeat(bytes) };
  const block = createHeaderWriter('localhost', false)
    .block(STATUS, long)
    .subarray(0, bytes - 200);
  const frames: Buffer[] = [];
  for (let at = 0; at < block.length; at += FRAME_BYTES) {
    const part = block.subarray(at, at + FRAME_BYTES);
    frames.push(frame(at === 0 ? HEADERS : CONTINUATION, 0, 1, part));
  }
  return Buffer.concat(frames);
}

export const bytesBeforeCalls: BoundRow = {
  async drive(plugin, times) {
    const first = Buffer.concat([HELLO, openBlock(times * LIMITS.headerBlockBytes)]);
    // Nothing may come between the frames of a header block.
    const all = await connections(plugin, 200, first, false);
    await assertServed(plugin);
    if (times === 1) assert.ok(all.every((one) => !one.isClosed()));
    else await Promise.all(all.map(({ closed }) => closed));
    await leave(all);
  },
};

export const timeBeforeCalls: BoundRow = {
  isLong: true,
  async drive(plugin, times) {
    const silent = await connections(plugin, times * 40, NOTHING);
    // Some send a byte of the preface again and again, and some all of it.
    const slow = await connections(plugin, times * 10, PREFACE.subarray(0, 1));
    const polite = await connections(plugin, times * 10);
    let at = 1;
    const timer = setInterval(() => {
      for (const { socket } of slow) {
        if (!socket.destroyed) socket.write(PREFACE.subarray(at, at + 1));
      }
      at = Math.min(at + 1, PREFACE.length - 1);
    }, 1_000);
    await Promise.all([...silent, ...slow].map(({ closed }) => closed));
    clearInterval(timer);
    assert.ok(polite.every((one) => !one.isClosed()));
    await leave(polite);
  },
};

const BEGINNING = 64;

/** Each begins with so many bytes of calls, as a client that was stopped for a while. */
export const connectionsInATurn: BoundRow = {
  async drive(plugin, times) {
    const ids = streams(times);
    const first = Buffer.concat([
      HELLO,
      callsOf(ids, STATUS, () => statusWith(LIMITS.firstBytes - 400)),
    ]);
    const count = times * BEGINNING;
    const all = await connections(plugin, count, first);
    await waitUntil('the end of every call', ENDS_MS, () => endedOf(all) === count * ids.length);
    assertEnds(all, OK, ...(times === 1 ? [] : [EXHAUSTED]));
    await leave(all);
  },
};

export const adminConnections: BoundRow = {
  async drive({ socket }, times) {
    const admin = join(socket, '../admin.sock');
    const count = times * MAX_CONNECTIONS - (times === 1 ? OWN : 0);
    const all: Socket[] = [];
    for (let i = 0; i < count; i += 1) {
      const one = connect(admin).resume();
      one.on('error', () => one.destroy());
      await once(one, 'connect');
      one.write('GET /readyz HTTP/1.1\r\n');
      all.push(one);
    }
    const { status } = await askAdmin(admin, '/livez');
    assert.equal(status, 200);
    const open = (): number => all.filter(({ closed }) => !closed).length;
    if (times === 1) assert.equal(open(), count);
    await waitUntil('the end of the oldest', ENDS_MS, () => open() <= MAX_CONNECTIONS);
    for (const one of all) one.destroy();
  },
};
