import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createByteStore } from '../../../src/kms/authority/byte-store.ts';

describe('bytes that are kept', () => {
  it('are those that were appended, and take no more than twice their size', () => {
    const store = createByteStore();
    const whole = Buffer.from(Array.from({ length: 16_384 }, (_, i) => i % 251));
    for (const byte of whole) store.append(Buffer.of(byte));
    assert.equal(store.length, whole.length);
    const taken = store.take();
    assert.deepEqual(taken, whole);
    assert.ok(taken.buffer.byteLength <= 2 * whole.length);
  });

  it('keep nothing of what they were a view of, nor of what was taken', () => {
    const store = createByteStore();
    const read = Buffer.alloc(65_536, 1);
    store.append(read.subarray(10, 20));
    const taken = store.take();
    assert.notEqual(taken.buffer, read.buffer);
    assert.equal(store.length, 0);
    assert.equal(store.take().buffer.byteLength, 0);
  });
});
