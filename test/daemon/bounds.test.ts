/**
 * Every bound of src/limits.ts, driven to it and far beyond it, in the shipped form with its real
 * flags: the process lives, Status is answered throughout, what is refused is refused in words, and
 * the memory stays within what the unit allows.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { LIMIT_ROWS } from '../../scripts/limits-table.ts';
import { MOST_CACHED } from '../../src/config/schema.ts';
import { encodeEncryptRequest } from '../../src/kms/codec/v2.ts';
import { LIMITS } from '../../src/limits.ts';
import { MAX_HEADER_BYTES } from '../../src/observe/admin-request.ts';
import {
  ciphertextOf,
  connections,
  DECRYPT,
  decryptOf,
  ENCRYPT,
  EXHAUSTED,
  endsOf,
  INVALID,
  KNOWN_ENDS,
  leave,
  NOTHING,
  STATUS,
  streams,
  UNIMPLEMENTED,
} from '../bounds/clients.ts';
import { drive } from '../bounds/drive.ts';
import { rowsOf } from '../bounds/rows.ts';
import { assertWithstood, summaryOf, withstand } from '../bounds/withstand.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  prefixed,
  type RawConnection,
  resetFrame,
} from '../fuzz/raw-connection.ts';
import { vitalsOf } from '../fuzz/vitals.ts';
import type { Plugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  CONTINUATION,
  DATA,
  frame,
  HEADERS,
  headerFrames,
  PING,
} from '../unit/authority/http2-bytes.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { startFakeVault } from './fake-vault.ts';
import { askAdmin, localProviders, vaultProviders } from './program.ts';

const CANCEL = 8;
const ENDS_MS = 60_000;

/** Attacks a plugin while it is asked for Status, and checks what is left of it. */
async function withstands(
  t: TestContext,
  config: object,
  attack: (plugin: Plugin) => Promise<void>,
  options: { readonly mayBeAway?: boolean } = {},
): Promise<Plugin> {
  const result = await withstand(temporaryFolder(t), config, attack, options);
  t.diagnostic(summaryOf(result));
  assertWithstood(result);
  return result.plugin;
}

describe('each row of the table of limits, driven to its bound and to ten times it', () => {
  for (const { name, bound } of LIMIT_ROWS) {
    for (const [i, row] of rowsOf(name).entries()) {
      // What takes minutes is driven by make bounds.
      if (row.isLong === true) continue;
      for (const times of [1, 10] as const) {
        it(`${name}${'′'.repeat(i)}: ${times} × ${bound}`, { timeout: 240_000 }, async (t) => {
          t.diagnostic(summaryOf(await drive(temporaryFolder(t), row, times, 0)));
        });
      }
    }
  }
});

describe('connections', () => {
  it('several times as many as there may be close the oldest silent ones', {
    timeout: 120_000,
  }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const all: RawConnection[] = [];
      for (let i = 0; i < 4; i += 1) {
        all.push(
          ...(await connections(plugin, LIMITS.connections, i % 2 === 0 ? NOTHING : OPENING)),
        );
      }
      const last = all.at(-1);
      assert.ok(last !== undefined && !last.isClosed());
      const headers = createHeaderWriter();
      last.socket.write(
        Buffer.concat([headers.headers(1, STATUS), lastData(1, prefixed(NOTHING))]),
      );
      await last.until(() => last.ends.has(1));
      assert.equal(last.ends.get(1), 'grpc-status 0');
      assert.ok(vitalsOf(plugin.process.pid).descriptors < LIMITS.connections + 200);
      await leave(all);
    });
  });
});

describe('requests to the admin endpoint', () => {
  const blanks = ' '.repeat(MAX_HEADER_BYTES - 100);
  for (const [what, field] of [
    ['a field of blanks that ends wrongly', `a:${blanks}\nb`],
    ['a field with blanks in the middle', `a: b${blanks}c`],
    ['many fields', 'a:b\r\n'.repeat(700)],
  ] as const) {
    it(`keep no call waiting by what they are: ${what}`, { timeout: 120_000 }, async (t) => {
      const providers = await localProviders(temporaryFolder(t));
      await withstands(t, { providers }, async ({ socket }) => {
        const ask = async (): Promise<void> => {
          const one = connect(join(socket, '../admin.sock')).resume();
          one.on('error', () => one.destroy());
          one.write(`GET /livez HTTP/1.1\r\nHost: localhost\r\n${field}\r\n\r\n`);
          await once(one, 'close');
        };
        for (let i = 0; i < 4; i += 1) await Promise.all(Array.from({ length: 100 }, ask));
      });
    });
  }
});

describe('bytes before the first call', () => {
  const block = Buffer.concat([
    frame(HEADERS, 0, 1, Buffer.alloc(6_000, 0x82)),
    frame(CONTINUATION, 0, 1, Buffer.alloc(6_000, 0x82)),
    frame(CONTINUATION, 0, 1, Buffer.alloc(6_000, 0x82)),
  ]);
  for (const [what, bytes] of [
    ['a header block that does not end', Buffer.concat([OPENING, block])],
    [
      'a header block in empty frames',
      Buffer.concat([
        OPENING,
        frame(HEADERS, 0, 1, NOTHING),
        ...Array.from({ length: 2_000 }, () => frame(CONTINUATION, 0, 1, NOTHING)),
      ]),
    ],
    [
      'one frame of 16 KiB',
      Buffer.concat([OPENING, frame(HEADERS, 0, 1, Buffer.alloc(16_383, 0x82))]),
    ],
    [
      'a frame of 16 MiB',
      Buffer.concat([OPENING, frame(DATA, 0, 1, NOTHING).fill(0xff, 0, 3), Buffer.alloc(20_000)]),
    ],
    [
      'frames that are no call',
      Buffer.concat([
        OPENING,
        ...Array.from({ length: 3_000 }, () => frame(2, 0, 1, Buffer.alloc(5))),
      ]),
    ],
  ] as const) {
    it(`take no more memory than they are, one at a time: ${what}`, {
      timeout: 120_000,
    }, async (t) => {
      const providers = await localProviders(temporaryFolder(t));
      await withstands(t, { providers }, async (plugin) => {
        const all = await connections(plugin, 12, NOTHING);
        for (let at = 0; at < bytes.length; at += 1) {
          for (const { socket } of all)
            if (!socket.destroyed) socket.write(bytes.subarray(at, at + 1));
          await new Promise((resolve) => setImmediate(resolve));
        }
        await leave(all);
      });
    });
  }
});

describe('calls that are not answered', () => {
  it('several times as many as there may be are refused with RESOURCE_EXHAUSTED', {
    timeout: 240_000,
  }, async (t) => {
    await using vault = await startFakeVault();
    const providers = vaultProviders(temporaryFolder(t), 'hvs.x', [vault.address]);
    await withstands(
      t,
      { providers },
      async (plugin) => {
        void vault.hold('decrypt'); // what the plugin tries out by itself is answered
        const perConnection = LIMITS.callsPerConnection;
        const all = await connections(plugin, (3 * LIMITS.calls) / perConnection);
        for (const [i, connection] of all.entries()) {
          const headers = createHeaderWriter();
          const calls = streams(perConnection).map((stream) =>
            Buffer.concat([
              headers.headers(stream, DECRYPT, { 'grpc-timeout': '25S' }),
              lastData(stream, prefixed(decryptOf(`${i}-${stream}`))),
            ]),
          );
          connection.socket.write(Buffer.concat(calls));
        }
        await waitUntil('calls that are refused', ENDS_MS, async () => {
          return (endsOf(all).get(EXHAUSTED) ?? 0) >= LIMITS.calls;
        });
        vault.release();
        await waitUntil('the end of every call', ENDS_MS, async () => {
          const ended = [...endsOf(all).values()].reduce((sum, count) => sum + count, 0);
          return ended === all.length * perConnection;
        });
        const known = [...KNOWN_ENDS, 'RST_STREAM 7'];
        for (const end of endsOf(all).keys()) assert.ok(known.includes(end), end);
        await leave(all);
      },
      { mayBeAway: true },
    );
  });

  for (const count of [1, 40]) {
    it(`of ${count} connections, each far beyond its limit, take neither memory nor places`, {
      timeout: 120_000,
    }, async (t) => {
      const providers = await localProviders(temporaryFolder(t));
      await withstands(t, { providers }, async (plugin) => {
        const all = await connections(plugin, count);
        const headers = createHeaderWriter();
        // HEADERS alone: a call that has no message yet.
        const flood = Buffer.concat(streams(20_000).map((n) => headers.headers(n, DECRYPT)));
        for (const { socket } of all) if (!socket.destroyed) socket.write(flood);
        for (const greedy of all)
          await greedy.until(() => greedy.ends.size > LIMITS.callsPerConnection);
        await leave(all);
      });
    });
  }

  it('since nobody reads their answers are as bounded', { timeout: 120_000 }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const all = await connections(plugin, 8);
      for (const one of all) {
        const headers = createHeaderWriter();
        one.stopReading();
        for (const stream of streams(4_000)) {
          if (one.socket.destroyed) break;
          one.socket.write(
            Buffer.concat([headers.headers(stream, STATUS), lastData(stream, prefixed(NOTHING))]),
          );
          if (stream % 64 === 1) await new Promise((resolve) => setImmediate(resolve));
        }
      }
      // More than it keeps for one: nothing is taken any more.
      await plugin.client.v2.status();
      await leave(all);
    });
  });
});

describe('messages', () => {
  it('of one byte a frame are reset after so many frames', { timeout: 120_000 }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const all = await connections(plugin, 4);
      const message = prefixed(
        encodeEncryptRequest({ plaintext: Buffer.alloc(10 * LIMITS.messagePieces), uid: 'u' }),
      );
      for (const one of all) {
        const headers = createHeaderWriter();
        for (const stream of streams(10)) {
          const pieces = [...message].map((byte) => frame(DATA, 0, stream, Buffer.of(byte)));
          one.socket.write(Buffer.concat([headers.headers(stream, ENCRYPT), ...pieces]));
        }
      }
      for (const one of all) {
        await one.until(() => one.ends.size === 10);
        assert.deepEqual([...new Set(one.ends.values())], ['RST_STREAM 1']);
      }
      await leave(all);
    });
  });

  it('whose bytes are more than there may be in all are refused with RESOURCE_EXHAUSTED', {
    timeout: 120_000,
  }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const all = await connections(plugin, 10);
      const size = LIMITS.messageBytes - 1_000;
      const message = prefixed(Buffer.alloc(size)).subarray(0, 16_384);
      const perConnection = (LIMITS.messageBytesOfAll / LIMITS.messageBytes) * 2;
      assert.ok(perConnection <= LIMITS.callsPerConnection);
      for (const one of all) {
        const headers = createHeaderWriter();
        one.socket.write(
          Buffer.concat(
            streams(perConnection).map((stream) =>
              Buffer.concat([headers.headers(stream, ENCRYPT), frame(DATA, 0, stream, message)]),
            ),
          ),
        );
      }
      const wanted = 10 * perConnection - Math.ceil(LIMITS.messageBytesOfAll / size);
      await waitUntil('calls that are refused', ENDS_MS, async () => {
        return (endsOf(all).get(EXHAUSTED) ?? 0) >= wanted;
      });
      await leave(all);
    });
  });

  it('that are too long are refused with RESOURCE_EXHAUSTED', { timeout: 60_000 }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const [one] = await connections(plugin, 1);
      assert.ok(one);
      const headers = createHeaderWriter();
      for (const stream of streams(200)) {
        const message = prefixed(Buffer.alloc(10)).fill(0xff, 1, 5);
        one.socket.write(
          Buffer.concat([headers.headers(stream, ENCRYPT), frame(DATA, 0, stream, message)]),
        );
      }
      await one.until(() => one.ends.size === 200);
      assert.deepEqual([...new Set(one.ends.values())], [EXHAUSTED]);
      await leave([one]);
    });
  });

  it('that are compressed are refused with UNIMPLEMENTED, and not decompressed', {
    timeout: 60_000,
  }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const all = await connections(plugin, 8);
      const bomb = prefixed(gzipSync(Buffer.alloc(64 * 1024 * 1024)).subarray(0, 60_000), 1);
      for (const one of all) {
        const headers = createHeaderWriter();
        for (const stream of streams(100)) {
          const more =
            stream % 4 === 1 ? { 'grpc-encoding': ['gzip', 'deflate', 'zstd'][stream % 3] } : {};
          one.socket.write(
            Buffer.concat([
              headers.headers(stream, STATUS, more),
              frame(DATA, 0, stream, bomb.subarray(0, 300)),
            ]),
          );
        }
      }
      for (const one of all) {
        await one.until(() => one.ends.size === 100);
        assert.deepEqual([...new Set(one.ends.values())], [UNIMPLEMENTED]);
      }
      await leave(all);
    });
  });
});

describe('headers', () => {
  it('that are too many or too long are refused, and one of them is served', {
    timeout: 60_000,
  }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const all = await connections(plugin, 50);
      for (const one of all) {
        const headers = createHeaderWriter('localhost', false);
        const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, 'v']));
        const long = { 'x-long': 'v'.repeat(15_000), 'x-longer': 'v'.repeat(15_000) };
        const first = Buffer.concat([headers.headers(7, STATUS), lastData(7, prefixed(NOTHING))]);
        one.socket.write(first);
        await one.until(() => one.ends.has(7));
        for (const [stream, more] of [
          [9, many],
          [11, long],
          [13, {}],
        ] as const) {
          const block = headers.block(STATUS, more);
          const cuts = block.length > 16_000 ? [0.25, 0.5, 0.75] : [];
          one.socket.write(
            Buffer.concat([
              headerFrames(stream, block, { cuts }),
              lastData(stream, prefixed(NOTHING)),
            ]),
          );
        }
        await one.until(() => one.ends.size === 4);
        assert.match(one.ends.get(9) ?? '', /^RST_STREAM/);
        assert.match(one.ends.get(11) ?? '', /^RST_STREAM/);
        assert.equal(one.ends.get(13), 'grpc-status 0');
      }
      await leave(all);
    });
  });

  it("outside of grpc-js' alphabet leave no line with what the client has sent", {
    timeout: 60_000,
  }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    const plugin = await withstands(t, { providers }, async (plugin) => {
      const all = await connections(plugin, 4);
      for (const one of all) {
        const headers = createHeaderWriter();
        for (const stream of streams(1_000)) {
          one.socket.write(
            Buffer.concat([
              headers.headers(stream, STATUS, {
                'x-planted!': 'planted\xe9',
                'x-other': 'planted\xff',
              }),
              lastData(stream, prefixed(NOTHING)),
            ]),
          );
          if (stream % 64 === 1) await one.until(() => one.ends.size >= (stream - 1) / 2 - 100);
        }
        await one.until(() => one.ends.size === 1_000);
        assert.deepEqual([...new Set(one.ends.values())], ['grpc-status 0']);
      }
      await leave(all);
    });
    assert.equal(
      plugin.log().some((line) => JSON.stringify(line).includes('planted')),
      false,
    );
    assert.ok(statSync(plugin.process.logFile).size < 20_000);
  });
});

describe('the decrypt cache', () => {
  it('of as many entries as there may be keeps no more bytes of long ciphertexts than it may', {
    timeout: 120_000,
  }, async (t) => {
    await using vault = await startFakeVault();
    const dir = temporaryFolder(t);
    const providers = vaultProviders(dir, 'hvs.x', [vault.address]);
    const decryptCache = { maxEntries: MOST_CACHED };
    await withstands(t, { providers, decryptCache }, async ({ client, socket }) => {
      let left = 600;
      const decryptAll = async (): Promise<void> => {
        while (left > 0) {
          left -= 1;
          const cipher = Buffer.from(ciphertextOf(`${left}`, 48_000));
          const { plain } = await client.v1.decrypt(cipher);
          assert.equal(plain.length, 48_000);
        }
      };
      await Promise.all(Array.from({ length: 8 }, decryptAll));
      const { body } = await askAdmin(join(socket, '../admin.sock'), '/readyz');
      const { entries } = body['decryptCache'] as { readonly entries: number };
      // Each has its ciphertext of 64 KB beside its plaintext.
      assert.equal(entries, Math.floor(LIMITS.cacheBytes / (48_000 + 64_085)));
    });
  });
});

describe('one connection that takes more than its share', () => {
  for (const [how, first] of [
    ['that it has had for long', true],
    ['that is new', false],
  ] as const) {
    it(`of 10,000 calls cancelled at once keeps its connection, ${how}, and each call among them is answered`, {
      timeout: 120_000,
    }, async (t) => {
      const providers = await localProviders(temporaryFolder(t));
      await withstands(t, { providers }, async (plugin) => {
        const [one] = await connections(plugin, 1);
        assert.ok(one);
        const headers = createHeaderWriter();
        const encrypt = prefixed(encodeEncryptRequest({ plaintext: Buffer.of(1), uid: '' }));
        const call = (stream: number, message: Buffer): Buffer =>
          Buffer.concat([headers.headers(stream, ENCRYPT), lastData(stream, message)]);
        if (first) {
          one.socket.write(call(1, prefixed(NOTHING)));
          await one.until(() => one.ends.has(1));
        }
        const ids = streams(10_201).slice(1);
        // Of no plaintext: what answers it has no message, and takes nothing of the window.
        const kept = ids.filter((_, i) => i % 51 === 50);
        const isKept = new Set(kept);
        // In the same bytes, so that nothing has been cleared away when the calls come.
        one.socket.write(
          Buffer.concat(
            ids.flatMap((id) =>
              isKept.has(id)
                ? [call(id, prefixed(NOTHING))]
                : [call(id, encrypt), resetFrame(id, CANCEL)],
            ),
          ),
        );
        await one.until(() => kept.every((id) => one.ends.has(id)));
        assert.equal(kept.length, 200);
        assert.deepEqual([...new Set(kept.map((id) => one.ends.get(id)))], [INVALID]);
        assert.equal(one.goaway(), undefined);
        await leave([one]);
      });
    });
  }

  it('of more streams than it was allowed is ended, and its calls up to then are not refused', {
    timeout: 60_000,
  }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const [one] = await connections(plugin, 1);
      assert.ok(one);
      const headers = createHeaderWriter();
      one.socket.write(
        Buffer.concat([
          ...streams(10 * LIMITS.streamsPerConnection).map((id) => headers.headers(id, DECRYPT)),
        ]),
      );
      await one.closed;
      assert.equal(one.goaway(), 0xb); // ENHANCE_YOUR_CALM
      assert.deepEqual([...endsOf([one]).keys()], ['RST_STREAM 7']); // REFUSED_STREAM
    });
  });

  it('of frames that want an answer, on four connections, leaves the others theirs', {
    timeout: 120_000,
  }, async (t) => {
    const providers = await localProviders(temporaryFolder(t));
    await withstands(t, { providers }, async (plugin) => {
      const all = await connections(plugin, 4);
      await Promise.all(
        all.map(async ({ socket }, k) => {
          const headers = createHeaderWriter();
          for (let burst = 0; burst < 40 && !socket.destroyed; burst += 1) {
            const flood = streams(128).map((n) => {
              const id = burst * 256 + n;
              const call = [headers.headers(id, STATUS), lastData(id, prefixed(NOTHING))];
              return k % 2 === 0
                ? Buffer.concat([...call, resetFrame(id, CANCEL)])
                : frame(PING, 0, 0, Buffer.alloc(8));
            });
            const written = socket.write(Buffer.concat(flood));
            await new Promise((resolve) =>
              written ? setImmediate(resolve) : setTimeout(resolve, 2),
            );
          }
        }),
      );
      await leave(all);
    });
  });
});
