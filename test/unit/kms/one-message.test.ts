import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { collect, nothingCollected, type Outcome } from '../../../src/kms/one-message.ts';
import { LIMITS } from '../../../src/limits.ts';

const MAX_BYTES = LIMITS.messageBytes;
const MAX_PIECES = LIMITS.messagePieces;

/** What has become of the message when it comes in these pieces. */
function run(pieces: readonly Buffer[], room = MAX_BYTES + 5): Outcome {
  const collected = nothingCollected();
  for (const piece of pieces) {
    const outcome = collect(collected, piece, (bytes) => bytes <= room);
    if (outcome !== 'more') return outcome;
  }
  return 'more';
}

function message(length: number, flag = 0): Buffer {
  const bytes = Buffer.alloc(5 + length, 0xd5);
  bytes[0] = flag;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** The bytes in pieces of this size. */
function cut(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
}

describe('a message', () => {
  for (const length of [0, 1, 10, 250, MAX_BYTES]) {
    const whole = message(length);
    for (const size of [1, 2, 3, 4, 5, 6, 7, 600, MAX_BYTES + 5]) {
      if (whole.length / size > MAX_PIECES) continue;
      it(`of ${length} bytes in pieces of ${size} is one buffer when it is whole`, () => {
        const pieces = cut(whole, size);
        assert.equal(run(pieces.slice(0, -1)), 'more');
        assert.deepEqual(run(pieces), whole);
      });
    }
  }

  it('keeps nothing of the buffer that it was read into', () => {
    const read = Buffer.alloc(65_536);
    const whole = message(40);
    whole.copy(read, 100);
    const got = run([read.subarray(100, 100 + whole.length)]);
    assert.ok(typeof got !== 'string');
    assert.notEqual(got.buffer, read.buffer);
    assert.deepEqual(got, whole);
  });

  const refused: readonly (readonly [string, readonly Buffer[], Outcome, number?])[] = [
    ['a second message in the same piece', [Buffer.concat([message(3), message(3)])], 'abuse'],
    ['a byte more than was announced', [Buffer.concat([message(3), Buffer.of(1)])], 'abuse'],
    ['a byte behind an empty message', [Buffer.of(0, 0, 0), Buffer.of(0, 0, 9)], 'abuse'],
    ['too many pieces', cut(message(MAX_PIECES), 1), 'abuse'],
    ['a compressed message', [message(3, 1)], 'compressed'],
    ['a compressed message in pieces', cut(message(3, 1), 2), 'compressed'],
    ['a message that there is no room for', [message(50)], 'full', 54],
    ['a message that there is no room for, in pieces', cut(message(50), 3), 'full', 54],
    ['a message that is too long', [message(MAX_BYTES + 1)], 'long'],
    ['the length of one that is too long', [message(MAX_BYTES + 1).subarray(0, 5)], 'long'],
    ['its length in pieces', cut(message(MAX_BYTES + 1).subarray(0, 5), 1), 'long'],
  ];
  for (const [what, pieces, outcome, room] of refused) {
    it(`is refused: ${what}`, () => assert.equal(run(pieces, room), outcome));
  }

  it('takes no memory for what it only announces', () => {
    const collected = nothingCollected();
    for (const piece of cut(message(1_000).subarray(0, 4), 1))
      collect(collected, piece, () => true);
    assert.equal(collected.buffer?.length, 5);
  });
});
