import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fail, succeed } from '../../../src/providers/errors.ts';
import { unsent } from '../../../src/providers/vault/errors.ts';
import { settle } from '../driven-clock.ts';
import { replyOf } from './reply-of.ts';
import {
  broken,
  createSessionUnderTest,
  deniedAt,
  granted,
  LOGIN,
  patient,
  RENEW,
  REVOKE,
  refused,
} from './session-under-test.ts';

const why = deniedAt('transit/encrypt/k');

describe('the renewal of a token', () => {
  for (const [random, at] of [
    [0, 60_000],
    [0.5, 57_000],
    [0.999, 54_006],
  ] as const) {
    it(`of 90 s comes after ${at} ms where chance is ${random}, again and again`, async () => {
      const { session, clock, count } = createSessionUnderTest(random);
      await session.token(patient());
      for (let times = 1; times <= 3; times += 1) {
        await clock.advance(at - 1);
        assert.equal(count(RENEW), times - 1);
        await clock.advance(1);
        assert.equal(count(RENEW), times);
      }
      assert.deepEqual(await session.token(patient()), succeed('token-1'));
      assert.equal(count(LOGIN), 1);
      assert.equal(clock.pending, 1);
    });
  }

  it('ends in a new login before the end where the lease shrinks', async () => {
    const { session, clock, count, grant } = createSessionUnderTest();
    await session.token(patient());
    grant.ttl = 30;
    await clock.advance(60_000);
    assert.deepEqual([count(RENEW), count(LOGIN)], [1, 1]);
    grant.ttl = 90;
    await clock.advance(20_000);
    assert.deepEqual([count(RENEW), count(LOGIN)], [1, 2]);
    assert.deepEqual(await session.token(patient()), succeed('token-2'));
  });

  it('ends in a new login at once where nothing is granted any more', async () => {
    const { session, clock, answers, count } = createSessionUnderTest();
    await session.token(patient());
    answers.set(RENEW, ({ token }) => granted(token ?? '', 0));
    await clock.advance(60_000);
    assert.equal(count(LOGIN), 2);
    assert.deepEqual(await session.token(patient()), succeed('token-2'));
    assert.equal(clock.pending, 2, 'the new one is renewed too, the old one given back');
  });

  it('is a new login where the token cannot be renewed, before its end', async () => {
    const { session, clock, grant, count } = createSessionUnderTest();
    grant.renewable = false;
    await session.token(patient());
    await clock.advance(60_000);
    assert.deepEqual([count(RENEW), count(LOGIN)], [0, 2]);
    assert.deepEqual(await session.token(patient()), succeed('token-2'));
  });

  const unanswered = [
    ['is cut after it was sent', broken(), true],
    ['is answered by a proxy that waited too long', refused(504, 'upstream timeout'), true],
    ['is done, and cannot be written into the audit log', refused(500, 'internal error'), true],
    ['finds Vault sealed', refused(503, 'Vault is sealed'), false],
    ['finds a quota used up', refused(429, 'rate limit quota exceeded'), false],
    ['finds nobody', fail('unavailable', 'refused', { cause: unsent(new Error()) }), false],
  ] as const;
  for (const [what, answer, mayBeDone] of unanswered) {
    for (const end of ['the next login', 'a stop'] as const) {
      it(`that ${what} ${mayBeDone ? 'has' : 'does not have'} the token given back by ${end}, after its end as far as is known`, async () => {
        const { session, clock, answers, requests } = createSessionUnderTest();
        await session.token(patient());
        answers.set(RENEW, () => answer);
        await clock.advance(91_000);
        if (end === 'a stop') await session.stop();
        else assert.deepEqual(await session.token(patient()), succeed('token-2'));
        await clock.advance(11_000);
        const revoked = requests.filter(({ path }) => path === REVOKE).map(({ token }) => token);
        assert.deepEqual(revoked, mayBeDone ? ['token-1'] : []);
      });
    }
  }

  const refusals = [
    ['where Vault does not know the token any more', refused(403)],
    [
      'where the policies of the user have changed (userpass, cert)',
      refused(500, 'failed to renew entry: policies have changed, not renewing'),
    ],
    [
      'where the role is gone (AppRole, JWT)',
      refused(500, 'failed to renew entry: role "r" does not exist during renewal'),
    ],
    [
      'where the role or the mount grants a shorter life by now than the token has had',
      refused(500, 'past the max TTL, cannot renew'),
    ],
    [
      'where the user or the certificate is gone, which Vault answers with nothing',
      replyOf({ what: 'renewing the token', holds: 'renewal' }, 204, undefined),
    ],
  ] as const;
  for (const [where, refusal] of refusals) {
    it(`is a new login ${where}`, async () => {
      const { session, clock, answers, requests, count } = createSessionUnderTest();
      await session.token(patient());
      answers.set(RENEW, () => refusal);
      await clock.advance(60_000);
      assert.equal(requests.find(({ path }) => path === RENEW)?.holds, 'renewal');
      assert.deepEqual([count(RENEW), count(LOGIN)], [1, 2]);
      assert.deepEqual(await session.token(patient()), succeed('token-2'));
    });
  }

  it('is none the less one where the answer does not hold the token, as through a Vault Agent with its own', async () => {
    const { session, clock, answers, count, requests, logged } = createSessionUnderTest();
    await session.token(patient());
    const auth = { client_token: '', lease_duration: 90, renewable: true };
    answers.set(RENEW, (request) => replyOf(request, 200, { auth }));
    await clock.advance(170_000);
    assert.deepEqual([count(RENEW), count(LOGIN)], [2, 1]);
    assert.ok(requests.filter(({ path }) => path === RENEW).every(({ uncached }) => uncached));
    assert.deepEqual(await session.token(patient()), succeed('token-1'));
    assert.ok(!logged.some((line) => line.includes('not renewed')));
  });

  it('is not needed where the token never expires', async () => {
    const { session, clock, grant } = createSessionUnderTest();
    grant.ttl = 0;
    await session.token(patient());
    assert.equal(clock.pending, 0);
    await clock.advance(365 * 24 * 3_600_000);
    assert.deepEqual(await session.token(patient()), succeed('token-1'));
  });
});

describe('an outage during the renewal', () => {
  for (const renewable of [true, false]) {
    const asked = renewable ? RENEW : LOGIN;
    const kind = renewable ? 'renewable' : 'batch';
    it(`leaves a ${kind} token in use until it ends, and is tried again, never in a tight loop`, async () => {
      const { session, clock, answers, grant, requests } = createSessionUnderTest();
      grant.renewable = renewable;
      await session.token(patient());
      const tries: number[] = [];
      const start = clock.now();
      answers.set(asked, () => {
        tries.push(clock.now() - start);
        return broken();
      });
      await clock.advance(89_999);
      assert.deepEqual(await session.token(patient()), succeed('token-1'));
      assert.equal(tries[0], 60_000);
      assert.ok(tries.length >= 5 && tries.length <= 50, `${tries.length} tries in 30 s`);
      for (const [i, at] of tries.entries())
        assert.ok(i === 0 || at - (tries[i - 1] ?? 0) >= 100, `${tries}`);

      await clock.advance(1);
      answers.set(LOGIN, () => broken());
      assert.deepEqual(await session.token(patient()), broken(), 'it has really ended');
      answers.clear();
      assert.equal((await session.token(patient())).ok, true);
      assert.equal(requests.at(-1)?.path, LOGIN);
    });
  }

  it('that passes leaves the same token, renewed', async () => {
    const { session, clock, answers, count } = createSessionUnderTest();
    await session.token(patient());
    let failures = 3;
    answers.set(RENEW, () => {
      failures -= 1;
      return failures >= 0 ? broken('throttled') : undefined;
    });
    await clock.advance(120_000);
    assert.deepEqual(await session.token(patient()), succeed('token-1'));
    assert.equal(count(LOGIN), 1);
    assert.equal(clock.pending, 1);
  });

  for (const status of [429, 500, 503]) {
    it(`that Vault itself tells of with ${status} is no reason to log in`, async () => {
      const { session, clock, answers, count } = createSessionUnderTest();
      await session.token(patient());
      answers.set(RENEW, () => refused(status, 'not now'));
      await clock.advance(85_000);
      assert.ok(count(RENEW) > 1);
      assert.equal(count(LOGIN), 1);
    });
  }

  it('that outlasts the token leaves no timer: the next caller logs in', async () => {
    const { session, clock, answers } = createSessionUnderTest();
    await session.token(patient());
    answers.set(RENEW, () => broken());
    answers.set(LOGIN, () => broken());
    await clock.advance(95_000);
    assert.equal(clock.pending, 0);
  });
});

describe('a renewal that is under way while the token is replaced', () => {
  const outcomes = [
    ['comes through', granted('token-1', 90)],
    ['is refused', refused(403)],
    ['fails', broken()],
  ] as const;
  for (const [what, outcome] of outcomes) {
    it(`and then ${what} changes nothing: the new token stays, with one timer`, async () => {
      const { session, clock, answers, count } = createSessionUnderTest();
      await session.token(patient());
      const renewal = Promise.withResolvers<typeof outcome>();
      answers.set(RENEW, () => renewal.promise);
      await clock.advance(60_000);
      assert.deepEqual(await session.replace('token-1', why, patient()), succeed('token-2'));
      renewal.resolve(outcome);
      await settle();
      assert.deepEqual(await session.token(patient()), succeed('token-2'));
      assert.equal(count(LOGIN), 2);
      assert.equal(clock.pending, 2);
    });
  }
});
