import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createBackoff } from '../../../src/keyring/backoff.ts';
import { fail, succeed } from '../../../src/providers/errors.ts';
import { createDrivenClock } from '../driven-clock.ts';

function underTest() {
  const clock = createDrivenClock();
  const backoff = createBackoff(clock);
  let ends = 0;
  backoff.onEnd(() => {
    ends += 1;
  });
  return { clock, backoff, ends: () => ends };
}

const DOWN = fail('unavailable', 'sealed');
const asked = (ms: number, message = 'too many') =>
  fail('throttled', message, { retryAfterMs: ms });

describe('a provider whose request failed', () => {
  it('is left alone ever longer, up to half a second', async () => {
    const { clock, backoff } = underTest();
    const waits: number[] = [];
    for (let i = 0; i < 6; i += 1) {
      backoff.saw([DOWN, DOWN]);
      const began = clock.now();
      while (backoff.holds()) await clock.advance(1);
      waits.push(clock.now() - began);
    }
    assert.deepEqual(waits, [50, 100, 200, 400, 500, 500]);
  });

  it('counts requests that were under way together as one failure', async () => {
    const { clock, backoff } = underTest();
    for (let i = 0; i < 16; i += 1) backoff.saw([DOWN]);
    await clock.advance(50);
    assert.equal(backoff.holds(), false);
  });

  it('is asked again at once when it was seen to work', () => {
    const { backoff, ends } = underTest();
    backoff.saw([DOWN]);
    assert.equal(backoff.why(), 'sealed');
    backoff.saw([fail('invalid', 'damaged'), succeed(undefined)]);
    assert.equal(backoff.holds(), false);
    assert.equal(backoff.why(), '');
    assert.equal(ends(), 1);
  });

  it('is not taken for one that works where nothing was asked of it', () => {
    const { backoff } = underTest();
    backoff.saw([DOWN]);
    backoff.saw([fail('invalid', 'not whole')]);
    assert.equal(backoff.holds(), true);
  });

  it('is left alone as after any failure where it asks for no time at all', async () => {
    const { clock, backoff } = underTest();
    for (const wait of [50, 100, 200]) {
      backoff.saw([asked(0)]);
      await clock.advance(wait - 1);
      assert.equal(backoff.holds(), true);
      await clock.advance(1);
      assert.equal(backoff.holds(), false);
    }
    assert.equal(backoff.askedUntil(), 0);
  });

  it('has answered where one item of several met with trouble', () => {
    const { backoff } = underTest();
    backoff.saw([succeed(undefined), DOWN]);
    assert.equal(backoff.holds(), false);
  });

  for (const kind of ['invalid', 'denied', 'internal', 'behind'] as const) {
    it(`is not left alone where waiting cannot help: ${kind}`, () => {
      const { backoff } = underTest();
      backoff.saw([fail(kind, 'no')]);
      assert.equal(backoff.holds(), false);
    });
  }
});

describe('a provider that asked for time', () => {
  it('has it, whatever fails meanwhile', async () => {
    const { clock, backoff } = underTest();
    backoff.saw([asked(30_000)]);
    assert.equal(backoff.askedUntil(), 30_000);
    backoff.saw([DOWN]);
    await clock.advance(29_999);
    assert.equal(backoff.holds(), true);
    await clock.advance(1);
    assert.equal(backoff.holds(), false);
    assert.equal(backoff.askedUntil(), 0);
  });

  const trouble = fail('unavailable', 'busy', { retryAfterMs: 2_000 });
  for (const [what, wait, see, ends] of [
    ['a limit, and a request that was sent before it', asked(30_000), 'before', false],
    ['a limit, and a request that was sent after it', asked(30_000), 'after', true],
    ['a limit, and a watcher that finds it well', asked(30_000), 'recovered', true],
    ['trouble, and a request that was sent before it', trouble, 'before', true],
    ['trouble, and a request that was sent after it', trouble, 'after', true],
    ['trouble, and a watcher that finds it well', trouble, 'recovered', true],
    ['a failure, and a request that was sent before it', DOWN, 'before', true],
  ] as const) {
    it(`because of ${what}: the wait ${ends ? 'is over' : 'goes on'}`, async () => {
      const { clock, backoff } = underTest();
      await clock.advance(1_000);
      backoff.saw([wait]);
      if (see === 'recovered') backoff.recovered();
      else backoff.saw([succeed(undefined)], see === 'before' ? 999 : 1_001);
      assert.equal(backoff.holds(), !ends);
      if (ends) assert.equal(backoff.askedUntil(), 0);
    });
  }

  it('is heard whichever of the items says so', () => {
    const { backoff } = underTest();
    backoff.saw([fail('invalid', 'damaged'), succeed(undefined), asked(500), asked(2_000)]);
    assert.equal(backoff.askedUntil(), 2_000);
  });

  it('does not take back a longer wait by a shorter one', async () => {
    const { clock, backoff } = underTest();
    backoff.saw([asked(30_000, 'long')]);
    backoff.saw([asked(1_000, 'short')]);
    await clock.advance(1_000);
    assert.equal(backoff.holds(), true);
    assert.equal(backoff.why(), 'long');
  });

  it('leaves no timer when it is stopped', () => {
    const { clock, backoff } = underTest();
    backoff.saw([asked(30_000)]);
    backoff.stop();
    assert.equal(clock.pending, 0);
  });
});
