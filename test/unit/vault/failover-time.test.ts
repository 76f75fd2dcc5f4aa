import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type AddressesUnderTest,
  addressesUnderTest,
  ENCRYPT,
  OK,
  patient,
  UNREACHABLE,
} from './addresses-under-test.ts';

/** kube-apiserver's own. */
const DEADLINE_MS = 3_000;

/** Calls one after the other, each with its deadline; how many were answered. */
async function calls(
  { addresses, clock }: AddressesUnderTest,
  count: number,
  deadlineMs = DEADLINE_MS,
): Promise<number> {
  let served = 0;
  for (let i = 0; i < count; i += 1) {
    const caller = new AbortController();
    const deadline = clock.setTimer(deadlineMs, () => caller.abort());
    const answered = addresses.request(ENCRYPT, caller.signal);
    let done = false;
    void answered.then(() => {
      done = true;
    });
    while (!done) await clock.advance(100);
    deadline.cancel();
    if ((await answered).ok) served += 1;
  }
  return served;
}

describe('a server that hangs', () => {
  it('costs a second, and what comes next does not ask it', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest();
    answers.set('a', 'hang');
    const answered = addresses.request(ENCRYPT, patient());
    await clock.advance(1_000);
    assert.deepEqual(await answered, OK);
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['a e', 'b e', 'b e']);
  });

  it('costs a second too where the other one failed before, and may be well by now', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest({ servers: ['a', 'b'] });
    answers.set('a', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    answers.set('a', OK);
    answers.set('b', 'hang');
    await clock.advance(1_000);
    const answered = addresses.request(ENCRYPT, patient());
    await clock.advance(1_000);
    assert.deepEqual(await answered, OK);
    assert.deepEqual(asked, ['a e', 'b e', 'b e', 'a e']);
  });

  it('two of them cost two seconds, and the third answers within the deadline', async () => {
    const test = addressesUnderTest();
    for (const name of ['a', 'b']) test.answers.set(name, 'hang');
    assert.equal(await calls(test, 10), 10);
  });

  it('is left by a call whose deadline is shorter than its time-out, for those that come after', async () => {
    const test = addressesUnderTest({ servers: ['a', 'b'], requestTimeoutMs: 10_000 });
    test.answers.set('a', UNREACHABLE);
    await calls(test, 1);
    test.answers.set('a', OK);
    test.answers.set('b', 'hang');
    assert.ok((await calls(test, 10)) >= 9);
  });

  it('is told from a caller who left early', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest();
    answers.set('a', 'hang');
    const caller = new AbortController();
    const answered = addresses.request(ENCRYPT, caller.signal);
    await clock.advance(500);
    caller.abort();
    assert.equal((await answered).ok, false);
    answers.clear();
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['a e', 'a e']);
  });

  it('has all of its time where no other one is there to be asked', async () => {
    for (const servers of [['a'], ['a', 'b']]) {
      const { addresses, answers, clock } = addressesUnderTest({ servers });
      for (const name of servers) answers.set(name, 'hang');
      let done = false;
      void addresses.request(ENCRYPT, patient()).then(() => {
        done = true;
      });
      await clock.advance((servers.length - 1) * 1_000 + 1_999);
      assert.equal(done, false);
      await clock.advance(1);
      assert.equal(done, true);
    }
  });
});

describe('servers that take longer than a second', () => {
  for (const servers of [['a'], ['a', 'b'], ['a', 'b', 'c']]) {
    it(`are slow, not away: ${servers.length} of them`, async () => {
      const test = addressesUnderTest({ servers });
      for (const name of servers) test.answers.set(name, { afterMs: 1_100 });
      // Three seconds are over before the third of them has had its time.
      assert.ok((await calls(test, 40)) >= 40 - Math.max(0, servers.length - 2));
    });
  }

  it('are served from again after an outage in which all circuits have opened', async () => {
    for (const servers of [
      ['a', 'b'],
      ['a', 'b', 'c'],
    ]) {
      const test = addressesUnderTest({ servers });
      for (const name of servers) test.answers.set(name, UNREACHABLE);
      await calls(test, 3);
      for (const name of servers) test.answers.set(name, { afterMs: 1_100 });
      const before = await calls(test, 6);
      assert.equal(await calls(test, 10), 10, `${before} of the 6 before`);
    }
  });

  it('have the whole of requestTimeout, once the others were found to be no faster', async () => {
    const test = addressesUnderTest({ servers: ['a', 'b'], requestTimeoutMs: 10_000 });
    for (const name of ['a', 'b']) test.answers.set(name, { afterMs: 8_000 });
    assert.equal(await calls(test, 5, 60_000), 5);
  });
});

describe('a login', () => {
  it('that took long gives other requests no longer', async () => {
    const { addresses, answers, clock } = addressesUnderTest({ requestTimeoutMs: 10_000 });
    answers.set('a', { afterMs: 4_000 });
    const loggedIn = addresses.request(LOGIN, patient());
    await clock.advance(4_000);
    assert.deepEqual(await loggedIn, OK);
    answers.set('a', 'hang');
    const answered = addresses.request(ENCRYPT, patient());
    await clock.advance(1_000);
    assert.deepEqual(await answered, OK);
  });

  const LOGIN = { ...ENCRYPT, what: 'logging in', failoverMs: 5_000 };

  it('is slow by nature, and is not given up for another server sooner than requestTimeout', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest();
    answers.set('a', { afterMs: 1_900 });
    const answered = addresses.request(LOGIN, patient());
    await clock.advance(1_900);
    assert.deepEqual(await answered, OK);
    assert.deepEqual(asked, ['a e']);
  });

  it('leaves a server that hangs after five seconds, where requestTimeout is longer', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest({ requestTimeoutMs: 60_000 });
    answers.set('a', 'hang');
    const answered = addresses.request(LOGIN, patient());
    await clock.advance(5_000);
    assert.deepEqual(await answered, OK);
    assert.deepEqual(asked, ['a e', 'b e']);
  });

  it('by what works once has the whole of requestTimeout: nobody else is asked', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest();
    answers.set('a', { afterMs: 1_900 });
    const answered = addresses.request({ ...ENCRYPT, once: true }, patient());
    await clock.advance(1_900);
    assert.deepEqual(await answered, OK);
    assert.deepEqual(asked, ['a e']);
  });
});
