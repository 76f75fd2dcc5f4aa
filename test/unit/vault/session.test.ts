import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { succeed } from '../../../src/providers/errors.ts';
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

describe('logging in', () => {
  it('is done once for many callers that come at the same time', async () => {
    const { session, count } = createSessionUnderTest();
    const callers = Array.from({ length: 50 }, () => session.token(patient()));
    assert.deepEqual(await Promise.all(callers), Array(50).fill(succeed('token-1')));
    assert.deepEqual(await session.token(patient()), succeed('token-1'));
    assert.equal(count(LOGIN), 1);
  });

  it('fails for all callers alike, and is tried anew by the next one', async () => {
    const { session, answers, count } = createSessionUnderTest();
    answers.set(LOGIN, () => broken());
    const two = await Promise.all([session.token(patient()), session.token(patient())]);
    assert.deepEqual(two, [broken(), broken()]);
    answers.delete(LOGIN);
    assert.equal((await session.token(patient())).ok, true);
    assert.equal(count(LOGIN), 2);
  });

  it('goes on for the others where the caller that began it leaves', async () => {
    const { session, answers, count } = createSessionUnderTest();
    const answer = Promise.withResolvers<ReturnType<typeof granted>>();
    answers.set(LOGIN, () => answer.promise);
    const leaving = new AbortController();
    const first = session.token(leaving.signal);
    const second = session.token(patient());
    await settle();
    leaving.abort();
    const left = await first;
    assert.equal(left.ok === false && left.error.kind, 'unavailable');
    answer.resolve(granted('late', 90));
    assert.deepEqual(await second, succeed('late'));
    assert.equal(count(LOGIN), 1);
  });

  it('is given up after thirty seconds without an answer', async () => {
    const { session, answers, clock } = createSessionUnderTest();
    answers.set(LOGIN, () => new Promise(() => undefined));
    const waiting = session.token(patient());
    await clock.advance(30_000);
    const outcome = await waiting;
    assert.equal(outcome.ok === false && outcome.error.kind, 'unavailable');
    assert.equal(clock.pending, 0);
  });

  it('reads the secret id anew each time', async () => {
    const { session, secret, requests } = createSessionUnderTest();
    await session.token(patient());
    secret.id = 'second';
    await session.replace('token-1', why, patient());
    const sent = requests.filter(({ path }) => path === LOGIN).map(({ body }) => body);
    assert.deepEqual(sent, [
      { role_id: 'role', secret_id: 'first' },
      { role_id: 'role', secret_id: 'second' },
    ]);
  });

  it('sends credentials that Vault refused ever more rarely, and other ones at once', async () => {
    const { session, answers, count, clock, secret } = createSessionUnderTest();
    answers.set(LOGIN, () => refused(400, 'invalid role or secret ID'));
    const waits: number[] = [];
    let last = clock.now();
    while (count(LOGIN) < 5) {
      const before = count(LOGIN);
      const outcome = await session.token(patient());
      assert.equal(outcome.ok === false && outcome.error.kind, 'denied');
      if (count(LOGIN) > before) {
        waits.push(clock.now() - last);
        last = clock.now();
      }
      await clock.advance(500);
    }
    assert.deepEqual(waits, [0, 5_000, 30_000, 960_000, 960_000]);
    secret.id = 'second';
    await session.token(patient());
    assert.equal(count(LOGIN), 6);
  });

  it('never writes a token or a secret id to the log', async () => {
    const { session, logged, clock, answers } = createSessionUnderTest();
    await session.token(patient());
    await clock.advance(60_000);
    answers.set(LOGIN, () => refused(403));
    await session.replace('token-1', why, patient());
    assert.ok(logged.length >= 3);
    assert.doesNotMatch(logged.join(), /token-1|first/);
  });
});

describe('a login that Vault takes', () => {
  const auth = { client_token: 'one', lease_duration: 90, renewable: true };
  // As Vault 1.21.1 answers; 1.9.3 has neither of the two fields.
  const answers: readonly [string, object, boolean, RegExp | undefined][] = [
    ['without a limit', { ...auth, num_uses: 0, mfa_requirement: null }, true, undefined],
    ['of a Vault that tells nothing of it', auth, true, undefined],
    [
      'with a limit of uses',
      { ...auth, num_uses: 5 },
      true,
      /"tokens have few uses".*limits its tokens to 5 uses.*token_num_uses/,
    ],
    [
      'but for a second factor',
      { client_token: '', lease_duration: 0, mfa_requirement: { mfa_request_id: 'id' } },
      false,
      /asks for a second factor.*login-enforcement/,
    ],
  ];
  for (const [what, answer, isGood, said] of answers) {
    it(`${what} ${said === undefined ? 'is not worth a warning' : 'is named, with what to do'}`, async () => {
      const { session, answers: given, logged, count, clock } = createSessionUnderTest();
      const request = { what: 'logging in to Vault', holds: 'auth' } as const;
      given.set(LOGIN, () => replyOf(request, 200, { auth: answer }));
      for (let i = 0; i < 10; i += 1) assert.equal((await session.token(patient())).ok, isGood);
      assert.equal(count(LOGIN), 1);
      const warnings = logged.filter((line) => line.includes('"warn"'));
      assert.equal(warnings.length, said === undefined ? 0 : 1);
      if (said !== undefined) assert.match(warnings[0] ?? '', said);
      await session.stop();
      assert.equal(clock.pending, 0);
    });
  }
});

describe('a token that Vault does not accept', () => {
  it('is replaced once for all callers that used it', async () => {
    const { session, count } = createSessionUnderTest();
    await session.token(patient());
    const callers = Array.from({ length: 50 }, () => session.replace('token-1', why, patient()));
    assert.deepEqual(await Promise.all(callers), Array(50).fill(succeed('token-2')));
    assert.deepEqual(await session.replace('token-1', why, patient()), succeed('token-2'));
    assert.equal(count(LOGIN), 2);
  });

  it('is replaced by one of other credentials at once, whatever was tried just before', async () => {
    const { session, count, secret } = createSessionUnderTest();
    await session.token(patient());
    await session.replace('token-1', why, patient());
    await session.denied('token-2', why);
    const again = await session.replace('token-2', why, patient());
    assert.equal(again.ok === false && again.error.kind, 'denied');
    assert.equal(count(LOGIN), 2);
    secret.id = 'second';
    assert.deepEqual(await session.replace('token-2', why, patient()), succeed('token-3'));
  });

  it('holds nobody up for longer than two seconds where reading the credentials hangs', async () => {
    const { session, clock, secret } = createSessionUnderTest();
    await session.token(patient());
    await session.replace('token-1', why, patient());
    await session.denied('token-2', why);
    secret.hangs = true;
    const again = session.replace('token-2', why, patient());
    await clock.advance(2_000);
    const outcome = await again;
    assert.equal(outcome.ok === false && outcome.error.kind, 'denied');
  });

  for (const words of ['permission denied', 'permission denied\n\ninvalid token']) {
    it(`is replaced at once where only its policy was at fault before: ${words.replaceAll(/\s+/g, ' ')}`, async () => {
      const { session, count, answers } = createSessionUnderTest();
      const path = 'transit/encrypt/k';
      answers.set('sys/capabilities-self', (request) =>
        replyOf(request, 200, { data: { [path]: ['deny'] } }),
      );
      await session.token(patient());
      const byPolicy = deniedAt(path, '1 error occurred:\n\t* permission denied\n\n');
      const first = await session.replace('token-1', byPolicy, patient());
      assert.equal(first.ok === false && first.error.kind, 'denied');
      assert.equal(count(LOGIN), 1);
      const ended = deniedAt(path, words);
      assert.deepEqual(await session.replace('token-1', ended, patient()), succeed('token-2'));
      const again = await session.replace('token-2', byPolicy, patient());
      assert.equal(again.ok === false && again.error.kind, 'denied');
      assert.equal(count(LOGIN), 2, 'the policy is known to be at fault');
    });
  }

  it('does not make a storm of denials a storm of logins', async () => {
    const { session, count, clock } = createSessionUnderTest();
    await session.token(patient());
    for (let i = 0; i < 600; i += 1) {
      const token = await session.token(patient());
      assert.ok(token.ok);
      const fresh = await session.replace(token.value, why, patient());
      if (fresh.ok) await session.denied(fresh.value, why);
      await clock.advance(100);
    }
    assert.equal(count(LOGIN), 2);
  });

  it('is replaced again and again where each new one is accepted', async () => {
    const { session, count } = createSessionUnderTest();
    await session.token(patient());
    for (let i = 1; i <= 5; i += 1) {
      const fresh = await session.replace(`token-${i}`, why, patient());
      assert.deepEqual(fresh, succeed(`token-${i + 1}`));
      session.accepted(`token-${i + 1}`, 'transit/encrypt/k');
    }
    assert.equal(count(LOGIN), 6);
  });

  it('is given back a while after it was replaced, since it may be good for other things', async () => {
    const { session, requests, clock } = createSessionUnderTest();
    await session.token(patient());
    await session.replace('token-1', why, patient());
    const revoked = () => requests.filter(({ path }) => path === REVOKE).map(({ token }) => token);
    assert.deepEqual(revoked(), []);
    await clock.advance(10_000);
    assert.deepEqual(revoked(), ['token-1']);
    await session.stop();
    assert.deepEqual(revoked(), ['token-1', 'token-2']);
    assert.equal(clock.pending, 0);
  });
});

describe('stop', () => {
  it('gives back the token and leaves no timer', async () => {
    const { session, requests, clock } = createSessionUnderTest();
    await session.token(patient());
    assert.equal(clock.pending, 1);
    await session.stop();
    assert.equal(clock.pending, 0);
    assert.deepEqual(
      requests.map(({ path, token }) => [path, token]),
      [
        [LOGIN, undefined],
        [REVOKE, 'token-1'],
      ],
    );
  });

  it('ends the waits for a login under way', async () => {
    const { session, answers, clock } = createSessionUnderTest();
    answers.set(LOGIN, () => new Promise(() => undefined));
    const waiting = session.token(patient());
    await settle();
    await session.stop();
    const outcome = await waiting;
    assert.equal(outcome.ok === false && outcome.error.kind, 'unavailable');
    assert.equal(clock.pending, 0);
  });

  it('ends a renewal under way, which arms no timer any more', async () => {
    const { session, answers, clock } = createSessionUnderTest();
    await session.token(patient());
    answers.set(RENEW, () => new Promise(() => undefined));
    await clock.advance(60_000);
    await session.stop();
    await settle();
    assert.equal(clock.pending, 0);
  });

  it('waits no longer than a second for Vault to take the token back', async () => {
    const { session, answers, clock, grant } = createSessionUnderTest();
    await session.token(patient());
    answers.set(REVOKE, () => new Promise(() => undefined));
    const stopped = session.stop();
    await clock.advance(1_000);
    await stopped;
    const left = session.underWay();
    assert.ok(left, 'a process that lives on tries again');
    await clock.advance(grant.ttl * 1_000 + 60_000);
    await left;
    assert.equal(clock.pending, 0, 'no longer than the token lives');
  });

  it('is final: nobody logs in afterwards', async () => {
    const { session, count } = createSessionUnderTest();
    await session.stop();
    const outcome = await session.token(patient());
    assert.equal(outcome.ok === false && outcome.error.kind, 'unavailable');
    assert.equal(count(LOGIN), 0);
  });

  it('lets no login that runs beside it leave a token behind', async () => {
    const { session, answers, clock } = createSessionUnderTest();
    await session.token(patient());
    answers.set(LOGIN, () => new Promise(() => undefined));
    answers.set(REVOKE, () => new Promise(() => undefined));
    const replaced = session.replace('token-1', why, patient());
    await settle();
    const stopped = session.stop();
    const outcome = await replaced;
    assert.equal(outcome.ok, false);
    await clock.advance(1_000);
    await stopped;
  });
});
