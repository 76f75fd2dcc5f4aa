import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { firstGood } from '../../../src/keyring/first-good.ts';
import {
  fail,
  type ProviderErrorKind,
  type Result,
  succeed,
} from '../../../src/providers/errors.ts';
import type { CallSignal } from '../../../src/system/call-signal.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';

type Attempt = (signal: CallSignal) => Promise<Result<string>>;

const patient = (): AbortSignal => new AbortController().signal;
const good =
  (value: string): Attempt =>
  () =>
    Promise.resolve(succeed(value));
const bad =
  (kind: ProviderErrorKind): Attempt =>
  () =>
    Promise.resolve(fail(kind, kind));
/** Answers only when it is aborted, and remembers that it was. */
function hanging(): { attempt: Attempt; aborted: () => boolean } {
  let ended = false;
  const attempt: Attempt = (signal) =>
    new Promise((resolve) => {
      const end = (): void => {
        ended = true;
        resolve(fail('unavailable', 'aborted'));
      };
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) end();
    });
  return { attempt, aborted: () => ended };
}

async function kindOf(result: Promise<Result<string>>): Promise<string> {
  const outcome = await result;
  return outcome.ok ? outcome.value : outcome.error.kind;
}

describe('the first good result of several ways', () => {
  it('is that of the first way, and the second is not gone', async () => {
    let asked = false;
    const second: Attempt = async () => {
      asked = true;
      return succeed('second');
    };
    const clock = createDrivenClock();
    assert.equal(await kindOf(firstGood([good('first'), second], clock, patient())), 'first');
    assert.equal(asked, false);
    assert.equal(clock.pending, 0);
  });

  it('is that of the second at once where the first fails', async () => {
    const ways = [bad('denied'), good('second')];
    assert.equal(await kindOf(firstGood(ways, createDrivenClock(), patient())), 'second');
  });

  it('is that of the second soon where the first hangs, which is then given up', async () => {
    const clock = createDrivenClock();
    const first = hanging();
    const result = kindOf(firstGood([first.attempt, good('second')], clock, patient()));
    await clock.advance(300);
    assert.equal(await result, 'second');
    assert.equal(first.aborted(), true);
    assert.equal(clock.pending, 0);
  });

  const failures: readonly (readonly [readonly ProviderErrorKind[], string])[] = [
    [['denied', 'unavailable'], 'unavailable'],
    [['unavailable', 'invalid'], 'unavailable'],
    [['invalid', 'denied'], 'denied'],
    [['behind', 'denied'], 'denied'],
    [['behind', 'unauthenticated'], 'unauthenticated'],
    [['behind', 'unavailable'], 'unavailable'],
    [['behind', 'throttled'], 'throttled'],
    [['denied', 'internal'], 'internal'],
    [['invalid', 'behind'], 'behind'],
    [['behind', 'invalid'], 'behind'],
    [['invalid', 'invalid'], 'invalid'],
  ];
  for (const [kinds, expected] of failures) {
    it(`of ${kinds.join(' and ')} is none, and ${expected} stands`, async () => {
      const ways = kinds.map(bad);
      assert.equal(await kindOf(firstGood(ways, createDrivenClock(), patient())), expected);
    });
  }

  it('is not waited for beyond the deadline', async () => {
    const caller = new AbortController();
    const clock = createDrivenClock();
    const ways = [hanging(), hanging()];
    const result = kindOf(
      firstGood(
        ways.map(({ attempt }) => attempt),
        clock,
        caller.signal,
      ),
    );
    await settle();
    caller.abort();
    assert.equal(await result, 'unavailable');
    assert.equal(clock.pending, 0);
  });
});
