import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createScanner } from '../../../src/kms/authority/frames.ts';
import {
  ACK,
  CONTINUATION,
  DATA,
  EMPTY_SETTINGS,
  END_HEADERS,
  type Framing,
  frame,
  GOAWAY,
  HEADERS,
  headerFrames,
  PING,
  PREFACE,
  readFrames,
  SETTINGS,
  SETTINGS_ACK,
} from './http2-bytes.ts';
import { createDecoder, createEncoder, type Field, type Form } from './rfc7541.ts';

const INDEXED: Form = { indexing: 'incremental', nameIndex: true, huffman: true };
const PATH = '/var/run/kms.sock';
const MENDED = '.var.run.kms.sock';
const NONE = Buffer.alloc(0);

/** All that comes out, for these chunks in their order; the scanner may write in what it is given. */
function pass(chunks: readonly Buffer[], scanner = createScanner()): Buffer {
  const passed = chunks.map((chunk) => Buffer.from(scanner.scan(Buffer.from(chunk))));
  return Buffer.concat([...passed, scanner.release()]);
}

function blockOf(authority: string, form = INDEXED): Buffer {
  return createEncoder().encode([
    [[':method', 'POST'], INDEXED],
    [[':authority', authority], form],
    [['x-filler', 'f'.repeat(300)], { ...INDEXED, huffman: false }],
  ]);
}

/** The header lists in a client's bytes, decoded with one table. */
function headerLists(bytes: Buffer): Field[][] {
  const decode = createDecoder();
  const lists: Field[][] = [];
  let block: Buffer[] = [];
  for (const { type, flags, payload } of readFrames(bytes.subarray(PREFACE.length)).frames) {
    if (type === HEADERS) {
      const padded = (flags & 0x8) !== 0;
      const from = (padded ? 1 : 0) + ((flags & 0x20) !== 0 ? 5 : 0);
      block = [payload.subarray(from, payload.length - (padded ? (payload[0] ?? 0) : 0))];
    } else if (type === CONTINUATION) block.push(payload);
    else continue;
    if ((flags & END_HEADERS) !== 0) lists.push(decode(Buffer.concat(block)));
  }
  return lists;
}

function chunked(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

const forms: fc.Arbitrary<Form> = fc.record({
  indexing: fc.constantFrom('incremental', 'without', 'never'),
  nameIndex: fc.boolean(),
  huffman: fc.boolean(),
});
const fields: fc.Arbitrary<Field> = fc.tuple(
  fc.constantFrom('x-a', 'x-b', 'grpc-timeout', 'user-agent', ':path', 'host'),
  fc.oneof(fc.string({ maxLength: 12 }), fc.string({ minLength: 300, maxLength: 900 })),
);
const authorities = fc
  .array(fc.constantFrom('/', '/', '@', ' ', 'run', 'kms.sock', '-', '%2F', '0', 'Z', ':', '|'), {
    minLength: 1,
    maxLength: 20,
  })
  .map((parts) => parts.join(''));
const framings: fc.Arbitrary<Framing> = fc.record({
  padding: fc.option(fc.integer({ min: 0, max: 255 }), { nil: undefined }),
  priority: fc.boolean(),
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
});
const calls = fc.record({
  before: fc.array(fc.tuple(fields, forms), { maxLength: 6 }),
  authority: fc.tuple(authorities, forms),
  after: fc.array(fc.tuple(fields, forms), { maxLength: 6 }),
  resize: fc.option(fc.integer({ min: 0, max: 4096 }), { nil: undefined }),
  framing: framings,
  data: fc.uint8Array({ maxLength: 400 }),
});
const sizes = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 3000 })),
  {
    minLength: 1,
    maxLength: 12,
  },
);

const SUBSTITUTES: Readonly<Record<string, string>> = { '/': '.', ' ': '.', '@': '$', '|': '+' };
const mended = (text: string): string =>
  text.replaceAll(/[/ @|]/g, (bad) => SUBSTITUTES[bad] ?? '');

describe('the bytes of a client', () => {
  it('come out as they are but for the authorities, whatever the headers, frames and reads', () => {
    fc.assert(
      fc.property(fc.array(calls, { minLength: 1, maxLength: 8 }), sizes, (list, reads) => {
        const encoder = createEncoder();
        const expected: Field[][] = [];
        const parts = list.flatMap(({ before, authority, after, resize, framing, data }, i) => {
          const [value, form] = authority;
          const size = resize === undefined ? NONE : encoder.resize(resize);
          const fields = [...before, [[':authority', value], form] as const, ...after];
          const block = Buffer.concat([size, encoder.encode(fields)]);
          expected.push(
            fields.map(([[name, text]]) => [name, name === ':authority' ? mended(text) : text]),
          );
          const stream = 2 * i + 1;
          return [headerFrames(stream, block, framing), frame(DATA, 1, stream, data)];
        });
        const bytes = Buffer.concat([PREFACE, EMPTY_SETTINGS, ...parts]);
        const passed = pass(chunked(bytes, reads));
        assert.equal(passed.length, bytes.length);
        assert.deepEqual(headerLists(passed), expected);
        const others = (whole: Buffer) =>
          readFrames(whole.subarray(PREFACE.length)).frames.map((each) =>
            each.type === HEADERS || each.type === CONTINUATION
              ? { ...each, payload: each.payload.length }
              : each,
          );
        assert.deepEqual(others(passed), others(bytes));
        assert.deepEqual(pass([bytes]), passed);
      }),
      { numRuns: 150 },
    );
  });

  it('come out the same when read one at a time and all at once', () => {
    const bytes = Buffer.concat([
      PREFACE,
      EMPTY_SETTINGS,
      SETTINGS_ACK,
      headerFrames(1, blockOf(PATH), { padding: 7, priority: true, cuts: [0.01, 0.02, 0.5] }),
      frame(DATA, 1, 1, Buffer.alloc(100, 1)),
      SETTINGS_ACK,
      headerFrames(3, blockOf('@kms')),
    ]);
    assert.deepEqual(pass(chunked(bytes, [1])), pass([bytes]));
    assert.equal(pass([bytes]).length, bytes.length - SETTINGS_ACK.length);
  });

  it('come out as they are, and never throw, where they are garbage', () => {
    const garbage = fc.uint8Array({ maxLength: 600 });
    fc.assert(
      fc.property(garbage, sizes, (bytes, reads) => {
        assert.deepEqual(pass(chunked(Buffer.from(bytes), reads)), Buffer.from(bytes));
      }),
      { numRuns: 500 },
    );
  });

  it('come out once where a preface goes wrong at its end', () => {
    const bytes = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r ');
    assert.deepEqual(pass(chunked(bytes, [1])), bytes);
  });

  it('keep their length, and never throw, where they are garbage in frames behind a preface', () => {
    const frames = fc.array(
      fc.tuple(
        fc.constantFrom(0, 1, 1, 1, 2, 4, 8, 9, 9, 200),
        fc.integer({ min: 0, max: 255 }),
        fc.constantFrom(0, 1, 3),
        fc.uint8Array({ maxLength: 80 }),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(frames, fc.uint8Array({ maxLength: 20 }), sizes, (list, tail, reads) => {
        const parts = list.map((each) => frame(...each));
        const bytes = Buffer.concat([PREFACE, SETTINGS_ACK, ...parts, tail]);
        const passed = pass(chunked(bytes, reads));
        assert.equal(passed.length, bytes.length - SETTINGS_ACK.length);
        assert.deepEqual(pass([bytes]), passed);
      }),
      { numRuns: 1000 },
    );
  });

  it('come out unread and at once where a frame is no header block, however large it is', () => {
    const scanner = createScanner();
    const large = frame(DATA, 0, 1, Buffer.alloc(2 ** 24 - 1));
    scanner.scan(Buffer.from(PREFACE));
    for (const chunk of chunked(large, [65_536])) {
      const passed = scanner.scan(chunk);
      assert.equal(passed.length, chunk.length);
      assert.equal(passed.byteOffset, chunk.byteOffset, 'is not a copy');
    }
    assert.equal(scanner.release().length, 0);
  });
});

describe('a header block', () => {
  const isMended = (passed: Buffer) =>
    headerLists(passed)
      .flat()
      .some(([, text]) => text === MENDED);

  it('is mended in a frame of the largest size that a client may send', () => {
    const filler: Field = ['x-filler', 'f'.repeat(16_384 - 40)];
    const block = createEncoder().encode([
      [[':authority', PATH], INDEXED],
      [filler, { indexing: 'without', nameIndex: true, huffman: false }],
    ]);
    const grown = Buffer.concat([block, Buffer.alloc(16_384 - block.length, 0x82)]);
    const bytes = Buffer.concat([PREFACE, headerFrames(1, grown)]);
    assert.equal(isMended(pass([bytes])), true);
    assert.equal(isMended(pass(chunked(bytes, [1000]))), true);
  });

  it('is passed on untouched where it is larger, and the next is mended', () => {
    const large = Buffer.concat([blockOf(PATH), Buffer.alloc(16_384, 0x82)]);
    for (const framing of [{}, { cuts: [0.2, 0.5, 0.9] }]) {
      const bytes = Buffer.concat([PREFACE, headerFrames(1, large, framing)]);
      const next = headerFrames(3, blockOf(PATH));
      for (const reads of [[bytes.length], [1000]]) {
        const scanner = createScanner();
        assert.deepEqual(pass(chunked(bytes, reads), scanner), bytes);
        assert.equal(scanner.seen.doubtful, true);
        assert.equal(isMended(Buffer.concat([PREFACE, pass([next], scanner)])), true);
      }
    }
  });

  it('is held back to its end, and not longer than a bound', () => {
    const endless = Buffer.concat([
      PREFACE,
      frame(HEADERS, 0, 1, blockOf(PATH)),
      ...Array.from({ length: 9 }, () => frame(CONTINUATION, 0, 1, Buffer.alloc(2_040, 0x82))),
    ]);
    const scanner = createScanner();
    let taken = 0;
    let given = 0;
    let held = 0;
    for (const chunk of chunked(endless, [100])) {
      taken += chunk.length;
      given += scanner.scan(chunk).length;
      held = Math.max(held, taken - given);
    }
    assert.ok(held > 14_000 && held <= 16_384 + 9 + 100, `${held}`);
    assert.equal(given, endless.length);
  });

  // A length below zero must not be taken for one that is counted from the end.
  const authority = Buffer.concat([
    createEncoder().encode([[[':authority', PATH], INDEXED]]),
    Buffer.alloc(180, 0x82),
  ]);
  for (const [why, frames] of [
    ['its padding is larger than its frame', [frame(HEADERS, 0x4 | 0x8, 1, Buffer.of(9, 0x82))]],
    ['its padding is so by far', [frame(HEADERS, 0x4 | 0x8, 1, padded(255, authority))]],
    ['it has no room for its priority', [frame(HEADERS, 0x4 | 0x20, 1, Buffer.of(1, 2, 3))]],
    ['it is continued on another stream', [head(), frame(CONTINUATION, 4, 3, Buffer.of(0x82))]],
    ['another frame is in the midst of it', [head(), frame(DATA, 0, 1, Buffer.of(0x82))]],
  ] as const) {
    it(`is passed on untouched where ${why}`, () => {
      const bytes = Buffer.concat([PREFACE, ...frames]);
      const scanner = createScanner();
      assert.deepEqual(pass([bytes], scanner), bytes);
      assert.equal(scanner.seen.doubtful, true);
    });
  }

  function padded(padding: number, block: Buffer): Buffer {
    return Buffer.concat([Buffer.of(padding), block]);
  }

  function head(): Buffer {
    return frame(HEADERS, 0, 1, blockOf(PATH));
  }
});

describe('the first ACK of SETTINGS', () => {
  const good = headerFrames(1, blockOf('localhost'));

  it('is taken out, and no other', () => {
    const bytes = Buffer.concat([PREFACE, SETTINGS_ACK, good, SETTINGS_ACK]);
    for (const reads of [[bytes.length], [1], [5]]) {
      const passed = pass(chunked(bytes, reads));
      assert.deepEqual(passed, Buffer.concat([PREFACE, good, SETTINGS_ACK]));
    }
  });

  it('is taken out wherever it comes', () => {
    const bytes = Buffer.concat([PREFACE, EMPTY_SETTINGS, good, frame(DATA, 1, 1, NONE)]);
    assert.deepEqual(pass([bytes, SETTINGS_ACK]), bytes);
  });

  for (const [what, other] of [
    ['has a payload', frame(SETTINGS, ACK, 0, Buffer.alloc(6))],
    ['is on a stream', frame(SETTINGS, ACK, 1, NONE)],
  ] as const) {
    it(`is not what ${what}`, () => {
      const bytes = Buffer.concat([PREFACE, other]);
      assert.deepEqual(pass([bytes]), bytes);
    });
  }
});

describe('what a scanner has seen', () => {
  for (const [what, chunk, seen] of [
    ['half a preface', PREFACE.subarray(0, 12), {}],
    ['a preface', PREFACE, { preface: true }],
    ['no HTTP/2', Buffer.from('GET / HTTP/1.1\r\n\r\n'), { doubtful: true }],
    [
      'SETTINGS and their ACK',
      open(EMPTY_SETTINGS, SETTINGS_ACK),
      { preface: true, acknowledged: true },
    ],
    ['a good call', open(headerFrames(1, blockOf('localhost'))), { preface: true, good: true }],
    [
      'a call to be mended',
      open(headerFrames(1, blockOf(PATH))),
      { preface: true, doubtful: true },
    ],
    [
      'a call without authority',
      open(headerFrames(1, Buffer.of(0x83))),
      { preface: true, doubtful: true },
    ],
    [
      'a good call, and one that indexes its authority',
      open(headerFrames(1, blockOf('localhost')), headerFrames(3, Buffer.of(0x83, 0xbf))),
      { preface: true, good: true },
    ],
    ['half a call', open(headerFrames(1, blockOf(PATH)).subarray(0, 30)), { preface: true }],
    ['PING', open(frame(PING, 0, 0, Buffer.alloc(8))), { preface: true, doubtful: true }],
    ['GOAWAY', open(frame(GOAWAY, 0, 0, Buffer.alloc(8))), { preface: true, doubtful: true }],
  ] as const) {
    it(`is told: ${what}`, () => {
      const none = { preface: false, acknowledged: false, good: false, doubtful: false };
      const scanner = createScanner();
      scanner.scan(Buffer.from(chunk));
      assert.deepEqual(scanner.seen, { ...none, ...seen });
    });
  }

  function open(...frames: Buffer[]): Buffer {
    return Buffer.concat([PREFACE, ...frames]);
  }
});
