import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fail, type ProviderError, type Result } from '../../../src/providers/errors.ts';
import type { VaultReply } from '../../../src/providers/vault/reply.ts';
import {
  type Answer,
  addressesUnderTest,
  ENCRYPT,
  OK,
  patient,
  reply,
  UNREACHABLE,
} from './addresses-under-test.ts';
import { replyOf } from './reply-of.ts';

const errorIn = (result: Result<VaultReply>): ProviderError | undefined =>
  result.ok ? result.value.failure?.error : result.error;

describe('several servers', () => {
  const elsewhere: readonly (readonly [string, Answer])[] = [
    ['cannot be reached', UNREACHABLE],
    ['is sealed', reply(503, ['Vault is sealed'])],
    [
      'is a standby without an active node',
      reply(500, ['local node not active but active cluster node not found']),
    ],
    ['is a standby that only redirects', reply(307)],
    [
      'is a disaster recovery secondary',
      reply(400, ['path disabled in replication DR secondary mode']),
    ],
    ['denies without a word', reply(403)],
    ['redirects elsewhere', replyOf(ENCRYPT, 302, undefined, { location: 'https://portal' })],
    ['is no Vault', replyOf({ ...ENCRYPT, holds: 'data' }, 200, { status: 'ok' })],
    ['has a proxy before it that answers 429', replyOf(ENCRYPT, 429, { message: 'slow down' })],
    ['is a performance standby that is behind', reply(412, ['required index state not present'])],
    ['has a load balancer before it that knows no server', replyOf(ENCRYPT, 404, {})],
  ];
  for (const [what, answer] of elsewhere) {
    it(`the second is asked at once where the first ${what}, and first from then on`, async () => {
      const { addresses, answers, asked } = addressesUnderTest();
      answers.set('a', answer);
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
      assert.deepEqual(asked, ['a e', 'b e', 'b e']);
    });
  }

  for (const answer of [
    reply(403, ['permission denied']),
    reply(400, ['no']),
    reply(429, ['quota'], '7'),
  ]) {
    it(`an answer that is final is not asked for again: ${JSON.stringify(answer)}`, async () => {
      const { addresses, answers, asked } = addressesUnderTest();
      answers.set('a', answer);
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), answer);
      assert.deepEqual(asked, ['a e']);
    });
  }

  it('what works once is not sent twice where nobody knows whether it arrived', async () => {
    const { addresses, answers, asked } = addressesUnderTest();
    answers.set('a', UNREACHABLE);
    const outcome = await addresses.request({ ...ENCRYPT, once: true }, patient());
    assert.deepEqual(outcome, UNREACHABLE);
    assert.deepEqual(asked, ['a e']);
  });

  it('all of them are tried where none works', async () => {
    const { addresses, answers, asked } = addressesUnderTest();
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), UNREACHABLE);
    assert.deepEqual(asked, ['a e', 'b e', 'c e']);
    answers.clear();
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK, 'and again at once');
  });

  const noActive = 'local node not active but active cluster node not found';
  const away: readonly (readonly [string, Answer])[] = [
    ['cannot be reached', UNREACHABLE],
    ['are sealed', reply(503, ['Vault is sealed'])],
    ['are standbys that have not heard of it yet', reply(500, [noActive])],
    ['are standbys that cannot forward to it yet', reply(307)],
  ];
  for (const [what, answer] of away) {
    it(`the first to come back from a long outage is found at once where the others ${what}`, async () => {
      const { addresses, answers, clock } = addressesUnderTest();
      for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
      for (let i = 0; i < 40; i += 1) {
        assert.equal((await addresses.request(ENCRYPT, patient())).ok, false);
        await clock.advance(250);
      }
      for (const back of ['a', 'b', 'c', 'b', 'a']) {
        for (const name of ['a', 'b', 'c']) answers.set(name, answer);
        await addresses.request(ENCRYPT, patient());
        await clock.advance(250);
        answers.set(back, OK);
        assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
      }
    });
  }

  it('the first to come back is found at once where the others hang', async () => {
    const { addresses, answers, clock } = addressesUnderTest();
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    for (let i = 0; i < 10; i += 1) await addresses.request(ENCRYPT, patient());
    for (const back of ['a', 'b', 'c']) {
      for (const name of ['a', 'b', 'c']) answers.set(name, name === back ? OK : 'hang');
      const answered = addresses.request(ENCRYPT, patient());
      await clock.advance(600);
      assert.deepEqual(await answered, OK);
      answers.set(back, UNREACHABLE);
      const failed = addresses.request(ENCRYPT, patient());
      await clock.advance(10_000);
      assert.equal((await failed).ok, false);
    }
  });

  it('one that hangs keeps nobody from the first to come back', async () => {
    const { addresses, answers, clock } = addressesUnderTest();
    answers.set('a', 'hang');
    for (const name of ['b', 'c']) answers.set(name, reply(500, [noActive]));
    for (let i = 0; i < 60; i += 1) {
      const failed = addresses.request(ENCRYPT, patient());
      // The first knows of nothing yet, and waits for it.
      if (i === 0) await clock.advance(2_000);
      assert.deepEqual(await failed, reply(500, [noActive]));
      await clock.advance(250);
    }
    answers.set('b', OK);
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
  });

  it('one that has hung is asked aside now and then, and used once it answers', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest();
    answers.set('a', 'hang');
    for (const name of ['b', 'c']) answers.set(name, UNREACHABLE);
    for (let i = 0; i < 200; i += 1) {
      const failed = addresses.request(ENCRYPT, patient());
      await clock.advance(i === 0 ? 2_000 : 250);
      await failed;
    }
    assert.ok(asked.filter((name) => name === 'a e').length < 10, 'it is left alone mostly');
    answers.set('a', OK);
    for (let i = 0; i < 120; i += 1) {
      await addresses.request(ENCRYPT, patient());
      await clock.advance(250);
    }
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
  });

  it('what one refuses counts only where no other one grants it, where all have failed', async () => {
    for (const c of [OK, UNREACHABLE]) {
      const { addresses, answers, clock } = addressesUnderTest();
      for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
      await addresses.request(ENCRYPT, patient());
      const refusal = reply(403, ['permission denied']);
      answers.set('b', refusal);
      answers.set('c', c);
      const answered = addresses.request(ENCRYPT, patient());
      await clock.advance(1_000);
      assert.deepEqual(await answered, c === OK ? OK : refusal);
    }
  });

  it('a login goes first to those that cost no time, where all have failed', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest();
    answers.set('a', 'hang');
    for (const name of ['b', 'c']) answers.set(name, UNREACHABLE);
    const failed = addresses.request(ENCRYPT, patient());
    await clock.advance(60_000);
    await failed;
    answers.set('c', OK);
    asked.length = 0;
    assert.deepEqual(await addresses.request({ ...ENCRYPT, failoverMs: 5_000 }, patient()), OK);
    assert.deepEqual(asked, ['b e', 'c e']);
  });

  it('those that were away with the others are there again where the first one hangs', async () => {
    const { addresses, answers, clock } = addressesUnderTest();
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    for (let i = 0; i < 200; i += 1) {
      await addresses.request(ENCRYPT, patient());
      await clock.advance(250);
    }
    answers.clear();
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
    for (const name of ['a', 'b', 'c']) answers.set(name, 'hang');
    answers.set('c', OK);
    const answered = addresses.request(ENCRYPT, patient());
    await clock.advance(2_000);
    assert.deepEqual(await answered, OK);
  });

  it('one that is back is found where another answers, but has trouble of its own', async () => {
    const { addresses, answers, clock } = addressesUnderTest();
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    for (let i = 0; i < 60; i += 1) {
      await addresses.request(ENCRYPT, patient());
      await clock.advance(250);
    }
    answers.set('a', reply(500, ['internal error']));
    await addresses.request(ENCRYPT, patient());
    answers.set('b', OK);
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
  });

  it('retries end where there are more of them than a fifth of the requests', async () => {
    const { addresses, answers, asked } = addressesUnderTest();
    for (const name of ['a', 'b', 'c']) answers.set(name, UNREACHABLE);
    for (let i = 0; i < 200; i += 1) await addresses.request(ENCRYPT, patient());
    assert.ok(asked.length < 200 + 20 + 200 * 0.2 + 1, `${asked.length} for 200`);
  });
});

describe('the outcome of several servers', () => {
  const items = { ...ENCRYPT, holds: { field: 'plaintext', items: 2 } } as const;
  const results = { data: { batch_results: [{ plaintext: 'YQ==' }, { error: 'damaged' }] } };
  const trouble: readonly (readonly [string, Answer])[] = [
    ['refuses connections', UNREACHABLE],
    ['hangs', 'hang'],
    ['is sealed', reply(503, ['Vault is sealed'])],
    ['is not Vault', replyOf(items, 403, undefined)],
  ];
  for (const status of [200, 207, 400, 500]) {
    for (const [what, other] of trouble) {
      for (const first of [true, false]) {
        it(`is an answer of ${status} with a result for each item, where the ${first ? 'first' : 'second'} server ${what}`, async () => {
          const { addresses, answers, clock } = addressesUnderTest({ servers: ['a', 'b'] });
          const answer = replyOf(items, status, results);
          answers.set('a', first ? other : answer);
          answers.set('b', first ? answer : other);
          const answered = addresses.request(items, patient());
          await clock.advance(1_000);
          assert.deepEqual(await answered, answer);
        });
      }
    }
  }

  it('is what Vault says of its trouble, before a page of a proxy and a connection that failed', async () => {
    const sealed = reply(503, ['Vault is sealed']);
    for (const [a, b] of [
      [sealed, UNREACHABLE],
      [UNREACHABLE, sealed],
      [replyOf(ENCRYPT, 502, undefined), sealed],
      [sealed, replyOf(ENCRYPT, 502, undefined)],
    ] as const) {
      const { addresses, answers } = addressesUnderTest({ servers: ['a', 'b'] });
      answers.set('a', a);
      answers.set('b', b);
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), sealed);
    }
  });
});

describe('Retry-After with 503', () => {
  const busy = reply(503, [], '7');

  it('is told where every server asked to be left alone', async () => {
    for (const servers of [['a'], ['a', 'b', 'c']]) {
      const { addresses, answers } = addressesUnderTest({ servers });
      for (const name of servers) answers.set(name, busy);
      assert.deepEqual(await addresses.request(ENCRYPT, patient()), busy);
    }
  });

  it('is told of proxies before every server too', async () => {
    const { addresses, answers } = addressesUnderTest({ servers: ['a', 'b'] });
    const page = fail('unavailable', 'a proxy answers 503', { retryAfterMs: 7_000 });
    for (const name of ['a', 'b']) answers.set(name, page);
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), page);
  });

  it('of one server keeps nobody from asking another', async () => {
    const { addresses, answers } = addressesUnderTest({ servers: ['a', 'b'] });
    answers.set('a', busy);
    assert.deepEqual(await addresses.request(ENCRYPT, patient()), OK);
  });

  it('of one server says nothing of one that only failed', async () => {
    const page = fail('unavailable', 'a proxy answers 503', { retryAfterMs: 7_000 });
    for (const [answer, said] of [
      [busy, /answered 503/],
      [page, /a proxy answers 503/],
    ] as const) {
      const { addresses, answers } = addressesUnderTest({ servers: ['a', 'b'] });
      answers.set('a', UNREACHABLE);
      answers.set('b', answer);
      const error = errorIn(await addresses.request(ENCRYPT, patient()));
      assert.match(error?.message ?? '', said);
      assert.equal(error?.retryAfterMs, undefined);
    }
  });

  it('of one server says nothing of one that is left alone for having failed', async () => {
    const { addresses, answers, asked } = addressesUnderTest({ servers: ['a', 'b'] });
    answers.set('a', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    answers.set('b', busy);
    const error = errorIn(await addresses.request(ENCRYPT, patient()));
    assert.equal(error?.retryAfterMs, undefined);
    assert.deepEqual(asked, ['a e', 'b e', 'b e', 'a e']);
  });
});

describe('the preferred server', () => {
  it('is gone back to after it was healthy at two looks in a row, a minute apart', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest();
    answers.set('a', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    answers.clear();
    await clock.advance(60_000);
    await addresses.request(ENCRYPT, patient());
    await clock.advance(60_000);
    await addresses.request(ENCRYPT, patient());
    assert.deepEqual(asked, ['a e', 'b e', 'a sys/health', 'b e', 'a sys/health', 'a e']);
    await clock.advance(300_000);
    assert.equal(asked.length, 6, 'and nobody looks any more');
    assert.equal(clock.pending, 0);
  });

  it('is not gone back to while it comes and goes', async () => {
    const { addresses, answers, asked, clock } = addressesUnderTest();
    answers.set('a', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    for (let i = 0; i < 6; i += 1) {
      if (i % 2 === 0) answers.delete('a');
      else answers.set('a', reply(503));
      await clock.advance(60_000);
    }
    await addresses.request(ENCRYPT, patient());
    assert.equal(asked.at(-1), 'b e');
  });

  it('costs no look that outlives the provider', async () => {
    const { addresses, answers, clock } = addressesUnderTest();
    answers.set('a', UNREACHABLE);
    await addresses.request(ENCRYPT, patient());
    await addresses.close();
    assert.equal(clock.pending, 0);
  });
});
