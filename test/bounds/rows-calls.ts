/** The rows of the limits table that count calls, streams and their headers. */
import assert from 'node:assert/strict';
import { LIMITS } from '../../src/limits.ts';
import {
  createHeaderWriter,
  lastData,
  prefixed,
  type RawConnection,
  resetFrame,
} from '../fuzz/raw-connection.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { DATA, frame, headerFrames } from '../unit/authority/http2-bytes.ts';
import {
  callsOf,
  connections,
  DECRYPT,
  decryptOf,
  ENCRYPT,
  EXHAUSTED,
  encryptOf,
  endedOf,
  endsOf,
  KNOWN_ENDS,
  leave,
  NOTHING,
  OK,
  STATUS,
  streams,
  UNIMPLEMENTED,
} from './clients.ts';
import { allEnded, assertEnds, assertServed, type BoundRow, ENDS_MS } from './row.ts';

const CANCEL = 8;
const ENHANCE_YOUR_CALM = 0xb;
const REFUSED_STREAM = 'RST_STREAM 7';
/** What every call has: four pseudo-headers, content-type and te. */
const USUAL_HEADERS = 6;
/** Of the SETTINGS that Node's HTTP/2 has: what a header counts beside its name and value. */
const HEADER_OVERHEAD = 32;
const FRAME_BYTES = 16_000;

export const headers: BoundRow = {
  async drive(plugin, times) {
    const many = Object.fromEntries(
      Array.from({ length: times * LIMITS.headerListPairs - USUAL_HEADERS }, (_, i) => [
        `x-${i}`,
        'v',
      ]),
    );
    const length = times * LIMITS.headerListBytes - 8 * HEADER_OVERHEAD - 300;
    const long = Object.fromEntries(
      Array.from({ length: times }, (_, i) => [`x-long-${i}`, 'v'.repeat(length / times)]),
    );
    const path = '/v2.KeyManagementService/'.padEnd(times * LIMITS.keptHeaderBytes - 20, 'x');
    for (const [name, calledPath, more, served] of [
      ['pairs', STATUS, many, OK],
      ['bytes', STATUS, long, OK],
      ['path', path, {}, UNIMPLEMENTED],
    ] as const) {
      const all = await connections(plugin, 20);
      for (const one of all) {
        const writer = createHeaderWriter('localhost', false);
        const block = writer.block(calledPath, more);
        const parts = Math.ceil(block.length / FRAME_BYTES);
        const cuts = Array.from({ length: parts - 1 }, (_, i) => (i + 1) / parts);
        one.socket.write(
          Buffer.concat([headerFrames(1, block, { cuts }), lastData(1, prefixed(NOTHING))]),
        );
      }
      for (const one of all) {
        await one.until(() => one.ends.size === 1);
        const end = one.ends.get(1) ?? 'closed';
        if (times === 1) assert.equal(end, served, name);
        else assert.match(end, /^RST_STREAM|^closed/, name);
      }
      await leave(all);
    }
  },
};

export const callsOfOne: BoundRow = {
  async drive(plugin, times) {
    const all = await connections(plugin, 4);
    const ids = streams(times * LIMITS.callsPerConnection);
    for (const { socket } of all) {
      const writer = createHeaderWriter();
      socket.write(Buffer.concat(ids.map((id) => writer.headers(id, ENCRYPT))));
    }
    if (times === 1) {
      for (const { socket } of all) {
        socket.write(Buffer.concat(ids.map((id) => lastData(id, prefixed(encryptOf())))));
      }
      await allEnded(all, all.length * ids.length);
      assertEnds(all, OK);
    } else {
      await Promise.all(all.map(({ closed }) => closed));
      assertEnds(all, REFUSED_STREAM);
      for (const one of all) assert.equal(one.goaway(), ENHANCE_YOUR_CALM);
    }
    await leave(all);
  },
};

export const callsOfAll: BoundRow = {
  onVault: true,
  mayBeAway: true,
  async drive(plugin, times, vault) {
    void vault.hold('decrypt'); // what the plugin tries out by itself is answered
    const ids = streams(LIMITS.callsPerConnection);
    const most = LIMITS.calls - (times === 1 ? LIMITS.reservedCalls : 0);
    const all = await connections(plugin, (times * most) / ids.length);
    for (const [i, { socket }] of all.entries()) {
      const message = (id: number): Uint8Array => decryptOf(`${i}-${id}`);
      socket.write(callsOf(ids, DECRYPT, message, { 'grpc-timeout': '25S' }));
    }
    if (times > 1) {
      // Of those that have a place the time may pass, and others get theirs.
      await waitUntil('calls that are refused', ENDS_MS, () => {
        return endedOf(all) >= (times - 1) * LIMITS.calls;
      });
      assert.ok((endsOf(all).get(EXHAUSTED) ?? 0) >= LIMITS.calls);
    } else await assertServed(plugin);
    vault.release();
    await allEnded(all, all.length * ids.length);
    // Where as many have been refused in words as are kept, the next ones are reset.
    const beyond = [...KNOWN_ENDS, 'RST_STREAM 7'];
    assertEnds(all, ...(times === 1 ? KNOWN_ENDS.filter((end) => end !== EXHAUSTED) : beyond));
    await leave(all);
  },
};

/** Calls that are cancelled in the bytes that bring them; the last one is answered. */
export const endingStreams: BoundRow = {
  async drive(plugin, times) {
    const all = await connections(plugin, 4);
    const count = times * LIMITS.endingStreams;
    for (const { socket } of all) {
      const writer = createHeaderWriter();
      const call = (id: number): Buffer[] => [
        writer.headers(id, ENCRYPT),
        lastData(id, prefixed(encryptOf(1))),
      ];
      const cancelled = streams(count).flatMap((id) => [...call(id), resetFrame(id, CANCEL)]);
      socket.write(Buffer.concat([...cancelled, ...call(2 * count + 1)]));
    }
    for (const one of all) {
      await one.until(() => one.ends.has(2 * count + 1));
      assert.deepEqual([one.ends.get(2 * count + 1), one.goaway()], [OK, undefined]);
    }
    await leave(all);
  },
};

/** Some calls never have a message, and some never end their request: the one is reset after 10 s, the other after 60 s. */
export const timeOfACall: BoundRow = {
  isLong: true,
  async drive(plugin, times) {
    const all = await connections(plugin, 4);
    const ids = streams(times * 50);
    for (const [i, { socket }] of all.entries()) {
      const writer = createHeaderWriter();
      const message = i % 2 === 0 ? [] : [prefixed(encryptOf())];
      const frames = ids.flatMap((id) => [
        writer.headers(id, ENCRYPT),
        ...message.map((bytes) => frame(DATA, 0, id, bytes)),
      ]);
      socket.write(Buffer.concat(frames));
    }
    await waitUntil('the end of every call', ENDS_MS, () =>
      all.every(({ ends }) => ends.size === ids.length),
    );
    assertEnds(all, OK, `RST_STREAM ${CANCEL}`);
    await assertServed(plugin);
    await leave(all);
  },
};

/** Two frames each. */
function burst(path: string, count: number, message: Uint8Array): BoundRow['drive'] {
  return async (plugin, times) => {
    const all = await connections(plugin, 4);
    const ids = streams((times * count) / all.length);
    assert.ok(ids.length <= LIMITS.callsPerConnection);
    const calls = callsOf(ids, path, () => message);
    for (const { socket } of all) socket.write(calls);
    await allEnded(all, all.length * ids.length);
    assertEnds(all, OK);
    await leave(all);
  };
}

export const framesInATurn: BoundRow = { drive: burst(STATUS, LIMITS.framesPerTurn / 2, NOTHING) };

export const callsInATurn: BoundRow = { drive: burst(ENCRYPT, LIMITS.callsPerTurn, encryptOf()) };

/**
 * Clients that send without end, as many calls as they may have at once or without a look at that, until
 * new connections have been served.
 */
export const pipelinedCalls: BoundRow = {
  isLong: true,
  async drive(plugin, times) {
    let isOver = false;
    const send = async (one: RawConnection): Promise<void> => {
      const writer = createHeaderWriter();
      const most = times === 1 ? LIMITS.callsPerConnection - LIMITS.callsPerTurn : Number.MAX_VALUE;
      for (let sent = 0; !isOver && !one.isClosed(); sent += LIMITS.callsPerTurn) {
        await one.until(() => sent - one.ends.size <= most);
        const frames = streams(LIMITS.callsPerTurn).flatMap((first) => {
          const id = 2 * sent + first;
          return [writer.headers(id, STATUS), lastData(id, prefixed(NOTHING))];
        });
        const { promise, resolve } = Promise.withResolvers<void>();
        one.socket.write(Buffer.concat(frames), () => resolve());
        await Promise.race([promise, one.closed]);
        // What comes is read, and other connections have their turn.
        await new Promise((done) => setImmediate(done));
      }
      assertEnds([one], OK, ...(times === 1 ? [] : [EXHAUSTED, REFUSED_STREAM]));
      assert.ok(times > 1 || !one.isClosed());
      await leave([one]);
    };
    const flood = Array.from({ length: 4 * times }, async () => {
      while (!isOver) await Promise.all((await connections(plugin, 1)).map(send));
    });
    try {
      for (let served = 0; served < 20; served += 1) await assertServed(plugin);
    } finally {
      isOver = true;
      await Promise.all(flood);
    }
  },
};

/** RST_STREAM of a stream that has ended: to nghttp2 each is one, and to Node none. */
export const resets: BoundRow = {
  async drive(plugin, times) {
    const [one] = await connections(plugin, 1);
    assert.ok(one);
    one.socket.write(callsOf([1], STATUS, () => NOTHING));
    await one.until(() => one.ends.has(1));
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => resetFrame(1, CANCEL)));
    const count = times === 1 ? LIMITS.resetsAtOnce - 1_000 : times * LIMITS.resetsAtOnce;
    for (let sent = 0; sent < count && !one.isClosed(); sent += 1_000) {
      const { promise, resolve } = Promise.withResolvers<void>();
      one.socket.write(many, () => resolve());
      await Promise.race([promise, one.closed]);
    }
    if (times === 1) {
      const writer = createHeaderWriter('localhost', false);
      one.socket.write(Buffer.concat([writer.headers(3, STATUS), lastData(3, prefixed(NOTHING))]));
      await one.until(() => one.ends.has(3));
      assert.equal(one.ends.get(3), OK);
      assert.equal(one.goaway(), undefined);
    } else await one.closed;
    await leave([one]);
    await assertServed(plugin);
  },
};

/** The same with calls, for longer than it takes to get to the bound: each is work, and none is answered. */
export const resetsOfCalls: BoundRow = {
  isLong: true,
  async drive(plugin, times) {
    const end = performance.now() + times * 1_000;
    const all = await connections(plugin, 4);
    await Promise.all(
      all.map(async (one) => {
        const writer = createHeaderWriter();
        for (let id = 1; performance.now() < end && !one.isClosed(); ) {
          const frames: Buffer[] = [];
          for (let i = 0; i < 200; i += 1, id += 2) {
            frames.push(writer.headers(id, ENCRYPT), resetFrame(id, CANCEL));
          }
          const { promise, resolve } = Promise.withResolvers<void>();
          one.socket.write(Buffer.concat(frames), () => resolve());
          await Promise.race([promise, one.closed]);
        }
      }),
    );
    await assertServed(plugin);
    await leave(all);
  },
};
