/** Writes of one file that follow each other, whatever the disk does. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createStateWriter } from '../../../src/system/state-file.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';

/** A disk that finishes each write when it is asked to. */
function setUp() {
  const clock = createDrivenClock();
  const begun: { readonly text: string; readonly end: PromiseWithResolvers<void> }[] = [];
  const writer = createStateWriter('/state', clock, 1_000, (_path, text) => {
    const end = Promise.withResolvers<void>();
    begun.push({ text, end });
    return end.promise;
  });
  const write = (text: string): Promise<string> =>
    writer.write(text).then(
      () => 'written',
      (error: Error) => error.message,
    );
  return { clock, begun, write };
}

describe('writes of the state file', () => {
  it('follow each other where one exceeds its limit, and the latest content stays', async () => {
    const { clock, begun, write } = setUp();
    const first = write('1');
    await clock.advance(1_000);
    assert.equal(await first, 'writing it takes too long');
    // Whatever waited for it would stay in memory until it ends, which may be never.
    for (const text of ['2', '3']) {
      assert.equal(await write(text), 'writing it takes too long');
      assert.equal(clock.pending, 0);
    }
    assert.deepEqual(
      begun.map(({ text }) => text),
      ['1'],
      'none begins before the late one has ended',
    );
    for (const at of [0, 1]) {
      begun[at]?.end.resolve();
      await settle();
    }
    const fourth = write('4');
    begun[2]?.end.resolve();
    assert.equal(await fourth, 'written');
    assert.deepEqual(
      begun.map(({ text }) => text),
      ['1', '3', '4'],
    );
    assert.equal(clock.pending, 0);
  });

  it('have their own outcome where the one before them fails', async () => {
    const { begun, write } = setUp();
    const outcomes = [write('1'), write('2')];
    begun[0]?.end.reject(new Error('EIO'));
    await settle();
    begun[1]?.end.resolve();
    assert.deepEqual(await Promise.all(outcomes), ['written', 'written']);
    const last = write('3');
    begun[2]?.end.reject(new Error('ENOSPC'));
    assert.equal(await last, 'ENOSPC');
    const again = write('4');
    begun[3]?.end.resolve();
    assert.equal(await again, 'written');
  });
});
