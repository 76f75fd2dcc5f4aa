import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { patiently } from '../../../src/keyring/patience.ts';
import { fail, type Result, succeed } from '../../../src/providers/errors.ts';
import { createDrivenClock } from '../driven-clock.ts';

const BEHIND = fail('behind', 'version is too new');

describe('a version that a server does not know yet', () => {
  const underTest = (outcomes: (attempts: number) => Result<string>) => {
    const clock = createDrivenClock();
    const caller = new AbortController();
    const attempts: number[] = [];
    const outcome = patiently(
      BEHIND,
      async () => {
        attempts.push(clock.now());
        return outcomes(attempts.length);
      },
      { signal: caller.signal, useless: () => false, clock },
    );
    return { clock, caller, attempts, outcome };
  };

  it('is asked for again, ever later, until it is known', async () => {
    const { clock, attempts, outcome } = underTest((n) => (n < 6 ? BEHIND : succeed('known')));
    await clock.advance(1_750);
    assert.deepEqual(await outcome, succeed('known'));
    assert.deepEqual(attempts, [50, 150, 350, 750, 1_250, 1_750]);
  });

  it('is asked for until the deadline of the caller, and leaves no timer', async () => {
    const { clock, caller, attempts, outcome } = underTest(() => BEHIND);
    await clock.advance(3_000);
    caller.abort();
    assert.deepEqual(await outcome, BEHIND);
    assert.equal(attempts.length, 8);
    assert.equal(clock.pending, 0);
  });

  it('is not waited for where it is damaged after all', async () => {
    const damaged = fail('invalid', 'damaged');
    const { clock, attempts, outcome } = underTest(() => damaged);
    await clock.advance(50);
    assert.deepEqual(await outcome, damaged);
    assert.deepEqual(attempts, [50]);
  });
});
