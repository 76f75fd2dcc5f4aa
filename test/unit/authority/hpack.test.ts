import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { mendHeaderBlock } from '../../../src/kms/authority/hpack.ts';
import { createDecoder, createEncoder, type Form, integer, text } from './rfc7541.ts';

const PATH = '/var/run/kms.sock';
const MENDED = '.var.run.kms.sock';

/** RFC 7541, appendix C: the examples of header lists as a client sends them. */
const APPENDIX_C = [
  ['C.2.1', 'absent', '400a637573746f6d2d6b65790d637573746f6d2d686561646572'],
  ['C.2.2', 'absent', '040c2f73616d706c652f70617468'],
  ['C.2.3', 'absent', '100870617373776f726406736563726574'],
  ['C.2.4', 'absent', '82'],
  ['C.3.1', 'good', '828684410f7777772e6578616d706c652e636f6d'],
  ['C.3.2', 'absent', '828684be58086e6f2d6361636865'],
  ['C.3.3', 'absent', '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565'],
  ['C.4.1', 'good', '828684418cf1e3c2e5f23a6ba0ab90f4ff'],
  ['C.4.2', 'absent', '828684be5886a8eb10649cbf'],
  ['C.4.3', 'absent', '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf'],
] as const;

describe('the header blocks of RFC 7541, appendix C', () => {
  for (const [section, authority, hex] of APPENDIX_C) {
    it(`are read and left as they are: ${section}`, () => {
      const block = Buffer.from(hex, 'hex');
      assert.equal(mendHeaderBlock(block), authority);
      assert.equal(block.toString('hex'), hex);
    });
  }

  it('are read alike by the decoder of these tests', () => {
    const decode = createDecoder();
    decode(Buffer.from(APPENDIX_C[7][2], 'hex'));
    decode(Buffer.from(APPENDIX_C[8][2], 'hex'));
    assert.deepEqual(decode(Buffer.from(APPENDIX_C[9][2], 'hex')), [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/index.html'],
      [':authority', 'www.example.com'],
      ['custom-key', 'custom-value'],
    ]);
  });
});

const FORMS: readonly Form[] = (['incremental', 'without', 'never'] as const).flatMap((indexing) =>
  [true, false].flatMap((nameIndex) =>
    [true, false].map((huffman) => ({ indexing, nameIndex, huffman })),
  ),
);

describe('a header block with the path of a socket for its authority', () => {
  for (const form of FORMS) {
    const { indexing, nameIndex, huffman } = form;
    const name = nameIndex ? 'the static name' : 'a name spelled out';
    it(`is mended: ${indexing} indexing, ${name}, ${huffman ? 'Huffman' : 'plain'}`, () => {
      const other: Form = { indexing: 'incremental', nameIndex: true, huffman };
      const block = createEncoder().encode([
        [[':path', PATH], other],
        [[':authority', PATH], form],
        [['x-path', PATH], other],
      ]);
      const before = block.length;
      assert.equal(mendHeaderBlock(block), 'mended');
      assert.equal(block.length, before);
      assert.deepEqual(createDecoder()(block), [
        [':path', PATH],
        [':authority', MENDED],
        ['x-path', PATH],
      ]);
    });
  }

  it('is mended behind changes of the size of the table', () => {
    const block = Buffer.concat([integer(0, 5, 0x20), integer(4096, 5, 0x20), authority(PATH)]);
    assert.equal(mendHeaderBlock(block), 'mended');
    assert.deepEqual(createDecoder()(block), [[':authority', MENDED]]);
  });

  it('is mended where its length takes more than one byte', () => {
    const long = `/${'run/'.repeat(100)}kms.sock`;
    const block = authority(long);
    assert.equal(mendHeaderBlock(block), 'mended');
    assert.deepEqual(createDecoder()(block), [[':authority', long.replaceAll('/', '.')]]);
  });

  it('is mended whatever bytes the path has, when plain', () => {
    const block = authority('/run/\\#<>^`{}\t\x7f\xe9');
    assert.equal(mendHeaderBlock(block), 'mended');
    assert.deepEqual(createDecoder()(block), [[':authority', '.run............']]);
  });
});

describe('a header block is left as it came', () => {
  const cutShort = authority(PATH).subarray(0, -1);
  for (const [why, block, outcome] of [
    ['it is empty', Buffer.alloc(0), 'absent'],
    ['its authority is empty', Buffer.of(0x41, 0)],
    ['its authority is the empty one of the static table', Buffer.of(0x81), 'absent'],
    ['its authority is cut short', cutShort],
    ['it is malformed behind its authority', Buffer.concat([authority(PATH), Buffer.of(0x41)])],
    [
      'the name of the path is taken from the dynamic table',
      Buffer.of(0x7e, 0x02, 0x2f, 0x61),
      'absent',
    ],
    ['an integer has no end', Buffer.of(0x7f, ...Buffer.alloc(20, 0xff))],
    ['an integer is beyond all bounds', Buffer.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)],
    ['an integer has a tail of zeros without end', Buffer.of(0xff, ...Buffer.alloc(40, 0x80))],
    ['a length is beyond its end', Buffer.of(0x41, 0x7f, 0x80, 0x7f, 0x2f)],
  ] as const) {
    it(`where ${why}`, () => {
      const copy = Buffer.from(block);
      assert.equal(mendHeaderBlock(copy), outcome ?? 'unknown');
      assert.deepEqual(copy, block);
    });
  }

  it('where it is garbage, which never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const copy = Uint8Array.from(bytes);
        if (mendHeaderBlock(copy) !== 'mended') assert.deepEqual(copy, bytes);
      }),
      { numRuns: 5000 },
    );
  });
});

function authority(value: string): Buffer {
  return Buffer.concat([Buffer.of(0x41), text(value, false)]);
}
