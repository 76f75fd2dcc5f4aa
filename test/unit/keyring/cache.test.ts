import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createDecryptCache } from '../../../src/keyring/cache.ts';
import { createDrivenClock } from '../driven-clock.ts';

const bytes = (text: string): Buffer => Buffer.from(text);

function underTest(maxEntries = 3) {
  const clock = createDrivenClock();
  return { clock, cache: createDecryptCache({ maxEntries, maxAgeMs: 60_000 }, clock) };
}

describe('a decrypt cache', () => {
  it('answers what was put into it, each time with bytes of the caller', () => {
    const { cache } = underTest();
    const plaintext = bytes('a plaintext');
    cache.put(bytes('one'), plaintext);
    plaintext.fill(0);
    cache.get(bytes('one'))?.fill(0);
    assert.deepEqual(cache.get(bytes('one')), bytes('a plaintext'));
    assert.equal(cache.get(bytes('two')), undefined);
  });

  it('forgets what is older than its maximum age', async () => {
    const { cache, clock } = underTest();
    cache.put(bytes('one'), bytes('1'));
    await clock.advance(59_999);
    assert.notEqual(cache.get(bytes('one')), undefined);
    await clock.advance(1);
    assert.equal(cache.get(bytes('one')), undefined);
  });

  it('drops what the provider answered longest ago when it is full, used or not', () => {
    const { cache } = underTest(2);
    cache.put(bytes('one'), bytes('1'));
    cache.put(bytes('two'), bytes('2'));
    cache.put(bytes('one'), bytes('1'));
    cache.get(bytes('two'));
    cache.put(bytes('three'), bytes('3'));
    assert.equal(cache.get(bytes('two')), undefined);
    assert.deepEqual(cache.get(bytes('one')), bytes('1'));
    assert.equal(cache.size(), 2);
  });

  it('keeps no more bytes than it may, whatever was put, replaced and dropped before', () => {
    const entry = 1_000;
    const cache = createDecryptCache(
      { maxEntries: 1_000, maxAgeMs: 60_000 },
      createDrivenClock(),
      10.5 * entry,
    );
    const put = (name: string, length: number): void =>
      // 32 bytes more are its length, its nonce and its tag.
      cache.put(bytes(name.padEnd(10)), Buffer.alloc(length - 10 - 32));
    const has = (name: string): boolean => cache.has(bytes(name.padEnd(10)));
    for (let i = 0; i < 100; i += 1) put(`${i}`, entry);
    assert.equal(cache.size(), 10);
    for (let i = 0; i < 100; i += 1) put('99', entry);
    assert.equal(cache.size(), 10);
    cache.drop(bytes('90'.padEnd(10)));
    put('one more', entry);
    assert.deepEqual([cache.size(), has('91')], [10, true]);
    put('long', 5 * entry);
    assert.deepEqual([cache.size(), has('95'), has('96'), has('long')], [6, false, true, true]);
    cache.clear();
    put('long', 10 * entry);
    assert.equal(has('long'), true);
    put('too long', 11 * entry);
    assert.equal(cache.size(), 0);
  });

  it('drops all that is too old when it is swept, asked for or not', async () => {
    const { cache, clock } = underTest();
    cache.put(bytes('one'), bytes('1'));
    await clock.advance(30_000);
    cache.put(bytes('two'), bytes('2'));
    await clock.advance(30_000);
    cache.sweep();
    assert.equal(cache.size(), 1);
  });

  it('answers nothing once it was emptied, and can be filled again', () => {
    const { cache } = underTest();
    cache.put(bytes('one'), bytes('1'));
    cache.clear();
    assert.equal(cache.get(bytes('one')), undefined);
    cache.put(bytes('one'), bytes('1'));
    assert.deepEqual(cache.get(bytes('one')), bytes('1'));
  });

  it('gives a turn to what the provider answered longest ago, and then to the others', async () => {
    const { cache, clock } = underTest();
    for (const name of ['one', 'two', 'three']) {
      cache.put(bytes(name), bytes(`plaintext of ${name}`));
      await clock.advance(10_000);
    }
    assert.deepEqual(cache.takeTurns(9, 30_001), []);
    assert.deepEqual(cache.takeTurns(9, 20_000), [bytes('one'), bytes('two')]);
    assert.deepEqual(cache.takeTurns(1, 0), [bytes('three')]);
    assert.deepEqual(cache.takeTurns(2, 0), [bytes('one'), bytes('two')]);
    assert.deepEqual(cache.get(bytes('one')), bytes('plaintext of one'));
  });

  it('makes nothing younger by giving it a turn', async () => {
    const { cache, clock } = underTest();
    cache.put(bytes('one'), bytes('1'));
    await clock.advance(40_000);
    assert.equal(cache.takeTurns(1, 0).length, 1);
    await clock.advance(20_000);
    assert.equal(cache.get(bytes('one')), undefined);
    assert.deepEqual(cache.takeTurns(1, 0), []);
    cache.sweep();
    assert.equal(cache.size(), 0);
  });

  it('has only what it would answer', async () => {
    const { cache, clock } = underTest();
    cache.put(bytes('one'), bytes('1'));
    assert.deepEqual([cache.has(bytes('one')), cache.has(bytes('two'))], [true, false]);
    await clock.advance(60_000);
    assert.equal(cache.has(bytes('one')), false);
  });

  it('drops the one that it is told to drop', () => {
    const { cache } = underTest();
    for (const name of ['one', 'two', 'three']) cache.put(bytes(name), bytes(name));
    cache.drop(bytes('two'));
    cache.drop(bytes('four'));
    assert.equal(cache.get(bytes('two')), undefined);
    assert.deepEqual([cache.has(bytes('one')), cache.has(bytes('three'))], [true, true]);
  });

  it('drops what an older version than the one given has encrypted, and what names none never', () => {
    const { cache } = underTest(4);
    for (const version of [undefined, 1, 2, 3])
      cache.put(bytes(`of ${version}`), bytes('x'), version);
    cache.dropBelow(3);
    const left = [undefined, 1, 2, 3].filter((version) => cache.has(bytes(`of ${version}`)));
    assert.deepEqual(left, [undefined, 3]);
  });

  it('opens no entry to store, find, drop or age one, however many there are', (t) => {
    const { cache } = underTest(1_000);
    for (let i = 0; i < 1_000; i += 1) cache.put(bytes(`${i}`), bytes('x'), i);
    // The length in front of each entry is read when it is opened.
    const opened = t.mock.method(Buffer.prototype, 'readUInt32BE');
    cache.put(bytes('new'), bytes('x'), 5);
    cache.has(bytes('new'));
    cache.drop(bytes('new'));
    cache.dropBelow(500);
    cache.sweep();
    assert.equal(cache.size(), 500);
    assert.equal(opened.mock.callCount(), 0);
    assert.notEqual(cache.get(bytes('600')), undefined);
    assert.equal(opened.mock.callCount(), 1);
  });

  it('holds an empty plaintext too', () => {
    const { cache } = underTest();
    cache.put(bytes('one'), bytes(''));
    assert.deepEqual(cache.get(bytes('one')), bytes(''));
  });
});
