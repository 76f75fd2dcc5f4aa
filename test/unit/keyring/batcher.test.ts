import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createBackoff } from '../../../src/keyring/backoff.ts';
import {
  type BatchItem,
  type BatchLimits,
  createBatcher,
  MOST_CALLS,
  type Proof,
} from '../../../src/keyring/batcher.ts';
import { fail, type Result, succeed } from '../../../src/providers/errors.ts';
import { createDrivenClock } from '../driven-clock.ts';

type Sent = {
  readonly items: readonly string[];
  readonly group: number;
  readonly signal: AbortSignal;
  answer(results?: readonly Result<Uint8Array>[]): void;
};

/** Long enough for what was answered in one turn to leave in the next. */
async function turn(): Promise<void> {
  await nextTurn();
  await nextTurn();
}

const NEVER = new AbortController().signal;

function item(text: string, more: Partial<BatchItem> = {}): BatchItem {
  return {
    bytes: Buffer.from(text),
    group: 0,
    shareAs: undefined,
    lane: 'ordinary',
    proof: undefined,
    ...more,
  };
}

/** A batcher whose requests are answered by hand; by themselves they answer what they were sent. */
function underTest(limits: Partial<BatchLimits> = {}) {
  const sent: Sent[] = [];
  const seen: (readonly Result<Uint8Array>[])[] = [];
  const clock = createDrivenClock();
  const backoff = createBackoff(clock);
  const batcher = createBatcher({
    what: 'decrypting with fake',
    clock,
    backoff,
    saw: (results) => seen.push(results),
    limits: { batch: 128, bytes: 1_000_000, calls: MOST_CALLS, ...limits },
    send: (items, group, signal) =>
      new Promise((resolve) => {
        sent.push({
          items: items.map((bytes) => Buffer.from(bytes).toString()),
          group,
          signal,
          answer: (results) => resolve(results ?? items.map((bytes) => succeed(bytes.slice()))),
        });
      }),
  });
  return { batcher, sent, seen, clock, backoff };
}

/** Keeps both slots busy, so that what comes next queues. */
async function occupy({ batcher, sent }: ReturnType<typeof underTest>): Promise<void> {
  for (const text of ['first', 'second']) {
    void batcher.submit(item(text), NEVER);
    await turn();
  }
  assert.equal(sent.length, 2);
}

async function textOf(result: Promise<Result<Uint8Array>>): Promise<string> {
  const { ok, ...rest } = await result;
  return ok && 'value' in rest ? Buffer.from(rest.value).toString() : JSON.stringify(rest);
}

describe('calls at a batcher', () => {
  it('that arrive in one turn of the event loop leave together, in their order', async () => {
    const { batcher, sent } = underTest();
    const results = ['a', 'b', 'c'].map((text) => batcher.submit(item(text), NEVER));
    assert.equal(sent.length, 0);
    await turn();
    assert.deepEqual(
      sent.map(({ items }) => items),
      [['a', 'b', 'c']],
    );
    sent[0]?.answer();
    assert.deepEqual(await Promise.all(results.map(textOf)), ['a', 'b', 'c']);
  });

  it('queue while all slots are busy, and leave together at the next free one', async () => {
    const test = underTest();
    await occupy(test);
    const results = ['a', 'b', 'c'].map((text) => test.batcher.submit(item(text), NEVER));
    await turn();
    assert.equal(test.sent.length, 2);
    assert.equal(test.batcher.queued(), 3);
    test.sent[0]?.answer();
    await turn();
    assert.deepEqual(test.sent[2]?.items, ['a', 'b', 'c']);
    test.sent[2]?.answer();
    assert.deepEqual(await Promise.all(results.map(textOf)), ['a', 'b', 'c']);
  });

  it('are cut into batches of the greatest size', async () => {
    const { batcher, sent } = underTest({ batch: 2 });
    for (const text of ['a', 'b', 'c']) void batcher.submit(item(text), NEVER);
    await turn();
    assert.deepEqual(
      sent.map(({ items }) => items),
      [['a', 'b'], ['c']],
    );
  });

  it('are cut into batches of no more than so many bytes, but one item always goes', async () => {
    const { batcher, sent } = underTest({ bytes: 10 });
    for (const text of ['aaaa', 'bbbb', 'cccc']) void batcher.submit(item(text), NEVER);
    void batcher.submit(item('one of more than ten'), NEVER);
    await turn();
    for (const { answer } of sent) answer();
    await turn();
    assert.deepEqual(
      sent.map(({ items }) => items),
      [['aaaa', 'bbbb'], ['cccc'], ['one of more than ten']],
    );
  });

  it('of different key versions never share a request', async () => {
    const { batcher, sent } = underTest();
    void batcher.submit(item('a', { group: 1 }), NEVER);
    void batcher.submit(item('b', { group: 1 }), NEVER);
    void batcher.submit(item('c', { group: 2 }), NEVER);
    await turn();
    assert.deepEqual(
      sent.map(({ items, group }) => ({ items, group })),
      [
        { items: ['a', 'b'], group: 1 },
        { items: ['c'], group: 2 },
      ],
    );
  });

  it('each get the failure of their own item', async () => {
    const { batcher, sent } = underTest();
    const good = batcher.submit(item('a'), NEVER);
    const bad = batcher.submit(item('b'), NEVER);
    await turn();
    sent[0]?.answer([succeed(Buffer.from('a')), fail('invalid', 'damaged')]);
    assert.equal((await good).ok, true);
    assert.match(await textOf(bad), /damaged/);
  });

  it('get an error where the provider left out an item or threw', async () => {
    const { batcher, sent } = underTest();
    const results = ['a', 'b'].map((text) => batcher.submit(item(text), NEVER));
    await turn();
    sent[0]?.answer([succeed(Buffer.from('a'))]);
    assert.equal((await results[0])?.ok, true);
    assert.match(await textOf(results[1] ?? Promise.reject()), /left out an item/);
    const throwing = createBatcher({
      what: 'decrypting with fake',
      clock: createDrivenClock(),
      backoff: createBackoff(createDrivenClock()),
      send: () => Promise.reject(new Error('the secret of the day')),
    });
    const outcome = await throwing.submit(item('a'), NEVER);
    assert.ok(!outcome.ok && outcome.error.kind === 'internal');
    assert.doesNotMatch(outcome.error.message, /secret/);
  });
});

describe('calls for the same ciphertext', () => {
  const same = (): BatchItem => item('x', { shareAs: 'x' });

  it('share one item, queued or under way, and each gets bytes of its own', async () => {
    const { batcher, sent } = underTest();
    const first = batcher.submit(same(), NEVER);
    const second = batcher.submit(same(), NEVER);
    await turn();
    const third = batcher.submit(same(), NEVER);
    await turn();
    assert.deepEqual(
      sent.map(({ items }) => items),
      [['x']],
    );
    sent[0]?.answer();
    const results = await Promise.all([first, second, third]);
    for (const result of results) {
      assert.ok(result.ok);
      assert.equal(Buffer.from(result.value).toString(), 'x');
      result.value.fill(0);
    }
  });

  it('ask again once the shared one was answered', async () => {
    const { batcher, sent } = underTest();
    void batcher.submit(same(), NEVER);
    await turn();
    sent[0]?.answer();
    await turn();
    void batcher.submit(same(), NEVER);
    await turn();
    assert.equal(sent.length, 2);
  });

  it('go on for the others when one of the callers leaves', async () => {
    const { batcher, sent } = underTest();
    const caller = new AbortController();
    const leaving = batcher.submit(same(), caller.signal);
    const staying = batcher.submit(same(), NEVER);
    await turn();
    caller.abort();
    assert.match(await textOf(leaving), /deadline/);
    assert.equal(sent[0]?.signal.aborted, false);
    sent[0]?.answer();
    assert.equal(await textOf(staying), 'x');
  });

  it('do not join one that all its callers have left', async () => {
    const { batcher, sent } = underTest();
    const caller = new AbortController();
    void batcher.submit(same(), caller.signal);
    await turn();
    caller.abort();
    const later = batcher.submit(same(), NEVER);
    await turn();
    assert.equal(sent.length, 2);
    sent[0]?.answer([fail('unavailable', 'aborted')]);
    sent[1]?.answer();
    assert.equal(await textOf(later), 'x');
  });
});

describe('a proof', () => {
  const refused = fail('invalid', 'the sample is of another key');
  const proofOf = (text: string): Proof => ({
    bytes: Buffer.from(text),
    failure: (result) => (result.ok ? undefined : refused),
  });
  const sample = proofOf('sample');

  it('stands once in each request that has an item which needs it, and takes no place of a call', async () => {
    const { batcher, sent } = underTest({ batch: 3, calls: { urgent: 0, ordinary: 4 } });
    const calls = ['a', 'b', 'c', 'd'].map((text) =>
      batcher.submit(item(text, { proof: sample }), NEVER),
    );
    await turn();
    assert.deepEqual(
      sent.map(({ items }) => items),
      [
        ['a', 'b', 'c', 'sample'],
        ['d', 'sample'],
      ],
    );
    for (const request of sent) request.answer();
    assert.deepEqual(await Promise.all(calls.map(textOf)), ['a', 'b', 'c', 'd']);
  });

  it('stands in no request whose items need none', async () => {
    const { batcher, sent } = underTest();
    const call = batcher.submit(item('a'), NEVER);
    await turn();
    assert.deepEqual(sent[0]?.items, ['a']);
    sent[0]?.answer();
    assert.equal(await textOf(call), 'a');
  });

  const own = fail('denied', 'of the item itself');
  const good = (text: string) => succeed(new Uint8Array(Buffer.from(text)));
  for (const [title, results, expected] of [
    [
      'that fails is the result of the good items which need it, and of no other',
      [good('a'), good('b'), own, refused, good('other')],
      [refused, good('b'), own, good('d')],
    ],
    [
      'that holds changes nothing, also beside one that fails',
      [good('a'), good('b'), own, good('sample'), refused],
      [good('a'), good('b'), own, refused],
    ],
  ] as const)
    it(title, async () => {
      const { batcher, sent } = underTest();
      const calls = [
        batcher.submit(item('a', { proof: sample }), NEVER),
        batcher.submit(item('b'), NEVER),
        batcher.submit(item('c', { proof: sample }), NEVER),
        batcher.submit(item('d', { proof: proofOf('other') }), NEVER),
      ];
      await turn();
      assert.deepEqual(sent[0]?.items, ['a', 'b', 'c', 'd', 'sample', 'other']);
      const [a, b, c, ...proofs] = results;
      sent[0]?.answer([a, b, c, good('d'), ...proofs]);
      assert.deepEqual(await Promise.all(calls), expected);
    });

  it('that fails wipes the plaintext in whose place its failure is answered', async () => {
    const { batcher, sent } = underTest();
    const call = batcher.submit(item('a', { proof: sample }), NEVER);
    await turn();
    const plaintext = good('secret');
    sent[0]?.answer([plaintext, refused]);
    assert.deepEqual(await call, refused);
    assert.deepEqual(plaintext, succeed(new Uint8Array(6)));
  });

  it('keeps no request alive whose callers have all left', async () => {
    const { batcher, sent } = underTest();
    const caller = new AbortController();
    void batcher.submit(item('a', { proof: sample }), caller.signal);
    await turn();
    caller.abort();
    assert.equal(sent[0]?.signal.aborted, true);
  });
});

describe('a caller whose deadline passes', () => {
  it('leaves the queue at once, and nothing is sent for it', async () => {
    const test = underTest();
    await occupy(test);
    const caller = new AbortController();
    const leaving = test.batcher.submit(item('a'), caller.signal);
    const staying = test.batcher.submit(item('b'), NEVER);
    caller.abort();
    assert.match(await textOf(leaving), /deadline/);
    test.sent[0]?.answer();
    await turn();
    assert.deepEqual(test.sent[2]?.items, ['b']);
    test.sent[2]?.answer();
    assert.equal(await textOf(staying), 'b');
  });

  it('does not end a request that others wait for; the last one does', async () => {
    const { batcher, sent } = underTest();
    const callers = [new AbortController(), new AbortController()] as const;
    for (const { signal } of callers) void batcher.submit(item('a'), signal);
    await turn();
    callers[0].abort();
    assert.equal(sent[0]?.signal.aborted, false);
    callers[1].abort();
    assert.equal(sent[0]?.signal.aborted, true);
  });

  it('before it asks, is told so and nothing is sent', async () => {
    const { batcher, sent } = underTest();
    assert.match(await textOf(batcher.submit(item('a'), AbortSignal.abort())), /deadline/);
    await turn();
    assert.equal(sent.length, 0);
  });
});

describe('a queue', () => {
  it('that is full refuses at once with overloaded, shared items counted for each caller', async () => {
    const { batcher } = underTest({ calls: { urgent: 1, ordinary: 3 } });
    void batcher.submit(item('a'), NEVER);
    for (let i = 0; i < 2; i += 1) void batcher.submit(item('b', { shareAs: 'b' }), NEVER);
    const outcome = await batcher.submit(item('b', { shareAs: 'b' }), NEVER);
    assert.ok(!outcome.ok && outcome.error.kind === 'overloaded');
  });

  it('has places for urgent calls that no other takes, and bounds those too', async () => {
    const test = underTest({ calls: { urgent: 2, ordinary: 3 } });
    await occupy(test);
    void test.batcher.submit(item('a'), NEVER);
    assert.match(await textOf(test.batcher.submit(item('b'), NEVER)), /3 calls wait already/);
    for (const text of ['c', 'd']) void test.batcher.submit(item(text, { lane: 'urgent' }), NEVER);
    const outcome = await test.batcher.submit(item('e', { lane: 'urgent' }), NEVER);
    assert.ok(!outcome.ok && outcome.error.kind === 'overloaded');
    assert.equal(test.batcher.queued(), 3);
  });

  it('gives the next free request to urgent calls, before thousands that came earlier', async () => {
    const test = underTest({ batch: 3 });
    await occupy(test);
    for (let i = 0; i < 4_000; i += 1) void test.batcher.submit(item(`${i}`), NEVER);
    const urgent = test.batcher.submit(item('urgent', { lane: 'urgent' }), NEVER);
    await turn();
    test.sent[0]?.answer();
    await turn();
    assert.deepEqual(test.sent[2]?.items, ['urgent', '0', '1']);
    test.sent[2]?.answer();
    assert.equal(await textOf(urgent), 'urgent');
  });

  it('loses thousands of callers who leave together without a search for each', async () => {
    const test = underTest();
    await occupy(test);
    const caller = new AbortController();
    const calls = Array.from({ length: 4_000 }, (_, i) =>
      test.batcher.submit(item(`${i}`), caller.signal),
    );
    caller.abort();
    for (const outcome of await Promise.all(calls)) assert.equal(outcome.ok, false);
    assert.equal(test.batcher.queued(), 0);
  });

  it('stands still as long as the provider asked to be left alone', async () => {
    const { batcher, sent, clock } = underTest();
    const refused = batcher.submit(item('a'), NEVER);
    await turn();
    sent[0]?.answer([fail('throttled', 'too many', { retryAfterMs: 2_000 })]);
    assert.match(await textOf(refused), /too many/);
    const caller = new AbortController();
    const leaving = batcher.submit(item('c'), caller.signal);
    caller.abort();
    assert.match(await textOf(leaving), /deadline.*too many/);
    const waiting = batcher.submit(item('b'), NEVER);
    await clock.advance(1_999);
    await turn();
    assert.equal(sent.length, 1);
    await clock.advance(1);
    await turn();
    assert.equal(sent.length, 2);
    sent[1]?.answer();
    assert.equal(await textOf(waiting), 'b');
  });

  it('says when it is idle', async () => {
    const { batcher, sent } = underTest();
    await batcher.idle();
    void batcher.submit(item('a'), NEVER);
    let idle = false;
    const becoming = batcher.idle().then(() => {
      idle = true;
    });
    await turn();
    assert.equal(idle, false);
    sent[0]?.answer();
    await becoming;
    assert.equal(batcher.queued(), 0);
  });
});

describe('a request that failed as a whole', () => {
  it('is not followed by others at once: what waits leaves together after a back-off', async () => {
    const { batcher, sent, clock } = underTest();
    const first = batcher.submit(item('a'), NEVER);
    await turn();
    sent[0]?.answer([fail('unavailable', 'sealed')]);
    assert.match(await textOf(first), /sealed/);
    const calls = ['b', 'c'].map((text) => batcher.submit(item(text), NEVER));
    await turn();
    assert.equal(sent.length, 1);
    await clock.advance(50);
    await turn();
    assert.deepEqual(sent[1]?.items, ['b', 'c']);
    sent[1]?.answer();
    assert.deepEqual(await Promise.all(calls.map(textOf)), ['b', 'c']);
  });

  it('is told of, unless all who wanted it have left', async () => {
    const { batcher, sent, seen } = underTest();
    const caller = new AbortController();
    void batcher.submit(item('a'), caller.signal);
    await turn();
    caller.abort();
    sent[0]?.answer([fail('unavailable', 'aborted')]);
    void batcher.submit(item('b'), NEVER);
    await turn();
    sent[1]?.answer([fail('denied', 'no')]);
    await turn();
    assert.deepEqual(
      seen.map(([result]) => result?.ok === false && result.error.message),
      ['no'],
    );
  });
});

describe('a request that nobody waits for any more', () => {
  it('counts where the provider was silent for long', async () => {
    const { batcher, sent, seen, backoff, clock } = underTest();
    const caller = new AbortController();
    void batcher.submit(item('a'), caller.signal);
    await turn();
    await clock.advance(2_900);
    caller.abort();
    sent[0]?.answer([fail('unavailable', 'aborted')]);
    await turn();
    assert.equal(seen.length, 1);
    assert.equal(backoff.holds(), true);
  });
});

describe('callers who leave one after the other, each before the provider counts as silent', () => {
  /** One caller after the other leaves after so long, `pauseMs` apart; how many of them counted. */
  async function counted(
    waits: readonly (number | 'answered')[],
    pauseMs: number,
  ): Promise<number> {
    const { batcher, sent, seen, clock } = underTest();
    for (const [i, wait] of waits.entries()) {
      const caller = new AbortController();
      void batcher.submit(item(`${i}`), caller.signal);
      await turn();
      if (wait === 'answered') {
        sent[i]?.answer([fail('denied', 'no')]);
      } else {
        await clock.advance(wait);
        caller.abort();
        sent[i]?.answer([fail('unavailable', 'aborted')]);
      }
      await turn();
      await clock.advance(pauseMs);
    }
    return seen.filter(([result]) => result?.ok === false && result.error.kind === 'unavailable')
      .length;
  }

  it('have found it silent together', async () => {
    assert.equal(await counted([900, 900, 900], 100), 1);
  });

  it('have not where one of them had an answer, or where nobody asked for long', async () => {
    assert.equal(await counted([900, 900, 'answered', 900, 900], 0), 0);
    assert.equal(await counted([900, 900, 900], 3_000), 0);
  });
});

describe('a batcher that is abandoned', () => {
  it('ends what waits and what comes, and lets what is under way end', async () => {
    const test = underTest();
    await occupy(test);
    const waiting = test.batcher.submit(item('a'), NEVER);
    test.batcher.abandon(false);
    assert.match(await textOf(waiting), /unavailable.*replaced/);
    assert.match(await textOf(test.batcher.submit(item('b'), NEVER)), /unavailable.*replaced/);
    assert.deepEqual(
      test.sent.map(({ signal }) => signal.aborted),
      [false, false],
    );
    for (const { answer } of test.sent) answer();
    await test.batcher.idle();
  });

  it('gives up what is under way where it is told to', async () => {
    const test = underTest();
    await occupy(test);
    test.batcher.abandon(true);
    assert.deepEqual(
      test.sent.map(({ signal }) => signal.aborted),
      [true, true],
    );
  });
});
