import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keyId } from '../../../src/keyring/key-id.ts';
import { statusMethod } from '../../../src/kms/v2.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
} from '../../fuzz/raw-connection.ts';
import { DATA, frame, WINDOW_UPDATE } from '../authority/http2-bytes.ts';
import { serving } from './serving.ts';

const STATUS = '/v2.KeyManagementService/Status';
const KEY_ID = keyId(['fake', 'key'], { version: 1, createdAt: 0 });
const MESSAGE = prefixed(Buffer.alloc(0));
/** More than the socket takes at once: their answers are under way while others are refused. */
const ANSWERED = 400;
const REFUSED = 100;
const UNIMPLEMENTED = 'grpc-status 12';

const COMPRESSED = { 'grpc-encoding': 'gzip' };

/** What is refused, as the frames of one call: by its headers, or by its message; ended by its client or not. */
const CALLS = [
  ['by its headers', COMPRESSED, [(id: number) => lastData(id, MESSAGE)]],
  ['by its headers, without an end', COMPRESSED, []],
  ['by its message', {}, [(id: number) => lastData(id, prefixed(Buffer.alloc(0), 1))]],
  ['without a message', {}, [(id: number) => lastData(id, Buffer.alloc(0))]],
  [
    'by its headers, without a message',
    COMPRESSED,
    [(id: number) => lastData(id, Buffer.alloc(0))],
  ],
  [
    'by its message, without an end',
    {},
    [(id: number) => frame(DATA, 0, id, prefixed(Buffer.alloc(0), 1))],
  ],
] as const;

describe('a call that is refused in words while other answers are written', () => {
  for (const authority of ['localhost', '/var/run/kms.sock']) {
    for (const reads of [true, false]) {
      for (const [what, more, data] of CALLS) {
        const who = `${authority}, a client that ${reads ? 'reads' : 'reads later'}`;
        it(`ends with the words: ${what}, ${who}`, { timeout: 60_000 }, async (t) => {
          const status = statusMethod(() => ({
            ok: true,
            value: { healthz: 'ok', keyId: KEY_ID },
          }));
          const { kms, path } = await serving(t, status);
          const connection = await openConnection(path);
          t.after(() => connection.socket.destroy());
          const headers = createHeaderWriter(authority);
          const answered = (id: number): Buffer[] => [
            headers.headers(id, STATUS),
            lastData(id, MESSAGE),
          ];
          const window = frame(WINDOW_UPDATE, 0, 0, Buffer.of(0x40, 0, 0, 0));
          connection.socket.write(Buffer.concat([OPENING, window, ...answered(1)]));
          await connection.until(() => connection.ends.has(1));
          const ids = Array.from({ length: ANSWERED + REFUSED }, (_, i) => 2 * i + 3);
          const refused = ids.filter((_, i) => i % ((ANSWERED + REFUSED) / REFUSED) === 0);
          const frames = ids.flatMap((id) =>
            refused.includes(id)
              ? [headers.headers(id, STATUS, more), ...data.map((frameOf) => frameOf(id))]
              : answered(id),
          );
          if (!reads) connection.stopReading();
          connection.socket.write(Buffer.concat(frames));
          if (!reads) {
            while (kms.open().calls > 0 || kms.open().sessions === 0) {
              await new Promise((resolve) => setImmediate(resolve));
            }
            connection.socket.resume();
          }
          await connection.until(() => ids.every((id) => connection.ends.has(id)));
          const ends = new Set(refused.map((id) => connection.ends.get(id)));
          assert.deepEqual([...ends], [UNIMPLEMENTED]);
        });
      }
    }
  }
});
