/** Tokens that Vault grants and does not take from here, as with token_bound_cidrs of another address. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLoginMemory } from '../../../src/providers/vault/auth/login-memory.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { replyOf } from './reply-of.ts';
import {
  createSessionUnderTest,
  deniedAt,
  granted,
  LOGIN,
  patient,
  RENEW,
  REVOKE,
  refused,
  type SessionUnderTest,
} from './session-under-test.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const ENCRYPT = 'transit/encrypt/k';
const SECRET = 'secret/data/t';
const DEDICATED = { mount: 'secret', path: 't', field: 'token', kvVersion: 2 } as const;

/** What a call comes to that Vault denies whatever the token is, as the client makes it. */
async function denied({ session }: SessionUnderTest, path = ENCRYPT): Promise<string> {
  const token = await session.token(patient());
  if (!token.ok) return token.error.message;
  const again = await session.replace(token.value, deniedAt(path), patient());
  if (!again.ok) return again.error.message;
  return (await session.denied(again.value, deniedAt(path))).error.message;
}

function unusable(clock = createDrivenClock(1_800_000_000_000), memory = createLoginMemory(clock)) {
  const under = createSessionUnderTest(0, clock, memory);
  under.grant.ttl = 32 * 24 * 3600;
  for (const path of [RENEW, REVOKE]) under.answers.set(path, () => refused(403));
  return under;
}

describe('a role whose tokens Vault grants and does not take from here', () => {
  it('brings few of them, and always says why and when the next login is', async () => {
    const under = unusable();
    const { count, clock } = under;
    const [atFirst, inAnHour, inADay] = [2, 5, 29];
    const said = new Set<string>();
    for (const [until, most] of [
      [10 * SECOND, atFirst],
      [HOUR, inAnHour],
      [24 * HOUR, inADay],
    ] as const) {
      const end = 1_800_000_000_000 + until;
      while (clock.now() < end) {
        said.add((await denied(under)).replaceAll(/\d\d:\d\d:\d\dZ|\d{4}-\d\d-\d\d/g, ''));
        await clock.advance(5 * SECOND);
      }
      assert.ok(count(LOGIN) <= most, `${count(LOGIN)} logins in ${until / 1000} s`);
      assert.ok(count(LOGIN) >= most - 2, `${count(LOGIN)}: a change of the role is found`);
    }
    assert.equal(said.size, 1, [...said].join('\n'));
    assert.match([...said][0] ?? '', /token_bound_cidrs.*the next try is at .*after SIGHUP/);
    assert.doesNotMatch([...said][0] ?? '', /where \/id changes/);
  });

  it('is one refusal, however many paths are denied at once', async () => {
    const under = unusable();
    const paths = [ENCRYPT, 'transit/decrypt/k', 'transit/keys/k'];
    await Promise.all(paths.map((path) => denied(under, path)));
    await under.clock.advance(MINUTE);
    await denied(under);
    assert.equal(under.count(LOGIN), 3);
  });

  it('brings one more at each SIGHUP, and none to the session in use by that', async () => {
    const clock = createDrivenClock(1_800_000_000_000);
    const memory = createLoginMemory(clock);
    const inUse = unusable(clock, memory);
    await denied(inUse);
    for (let i = 0; i < 3; i += 1) {
      const trial = unusable(clock, memory);
      assert.match(await denied(trial), /token_bound_cidrs.*the next try is at/);
      await denied(trial);
      assert.equal(trial.count(LOGIN), 1);
      await trial.session.stop();
      await denied(inUse);
      assert.equal(inUse.count(LOGIN), 2);
    }
  });

  it('brings one at once where the credentials have changed', async () => {
    const under = unusable();
    await denied(under);
    under.secret.id = 'second';
    await denied(under);
    assert.equal(under.count(LOGIN), 3);
  });

  it('is well again as soon as Vault takes a token: also one at hand, as of a standby that lags', async () => {
    const under = unusable();
    const { session, count, clock } = under;
    await denied(under);
    const token = await session.token(patient());
    assert.ok(token.ok);
    session.accepted(token.value, ENCRYPT);
    await clock.advance(10 * MINUTE);
    // Revoked later on: replaced at once, as ever.
    assert.ok((await session.replace(token.value, deniedAt(ENCRYPT), patient())).ok);
    assert.equal(count(LOGIN), 3);
  });

  it('is not one whose tokens are revoked after use, each of which is replaced', async () => {
    const under = unusable();
    const { session, count } = under;
    for (let i = 1; i <= 10; i += 1) {
      const token = await session.token(patient());
      assert.ok(token.ok);
      session.accepted(token.value, ENCRYPT);
      assert.ok((await session.replace(token.value, deniedAt(ENCRYPT), patient())).ok);
    }
    assert.equal(count(LOGIN), 11);
  });
});

describe('a login for a dedicated token', () => {
  const rows = [
    ['is not taken from here', 'permission denied', 2, 4, /granted the token of this login/],
    [
      'may not read it',
      '1 error occurred:\n\t* permission denied\n\n',
      20,
      130,
      /may not read the/,
    ],
  ] as const;
  for (const [what, words, least, most, says] of rows) {
    it(`whose token ${what}: ${least} to ${most} logins in an hour, and what helps`, async () => {
      const clock = createDrivenClock(1_800_000_000_000);
      const memory = createLoginMemory(clock);
      const under = createSessionUnderTest(0, clock, memory, { dedicatedToken: DEDICATED });
      const { answers, count, session } = under;
      answers.set(SECRET, () => refused(403, words));
      answers.set(REVOKE, () => refused(403));
      for (let at = 0; at < HOUR; at += 10 * SECOND) {
        const token = await session.token(patient());
        assert.ok(!token.ok);
        assert.match(token.error.message, says);
        assert.match(token.error.message, /the next try is at \S+Z, at once after SIGHUP/);
        assert.doesNotMatch(token.error.message, /where \/id changes/);
        await clock.advance(10 * SECOND);
      }
      assert.ok(count(LOGIN) >= least && count(LOGIN) <= most, `${count(LOGIN)} logins`);
      await session.stop();
    });
  }

  it('that finds no token in the secret: the file of the secret id is not what to change', async () => {
    const clock = createDrivenClock(1_800_000_000_000);
    const more = { dedicatedToken: DEDICATED };
    const under = createSessionUnderTest(0, clock, createLoginMemory(clock), more);
    under.answers.set(LOGIN, () => granted('login', 300));
    under.answers.set(SECRET, (request) => replyOf(request, 200, { data: { data: {} } }));
    const token = await under.session.token(patient());
    assert.ok(!token.ok);
    assert.match(token.error.message, /no text in field token.*at once after SIGHUP/);
    assert.doesNotMatch(token.error.message, /where \/id changes/);
    await under.session.stop();
  });
});
