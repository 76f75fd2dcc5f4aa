import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../../src/observe/log.ts';
import { fail, type Result } from '../../../src/providers/errors.ts';
import { dedicatedToken } from '../../../src/providers/vault/auth/dedicated-token.ts';
import type { Asking, Login } from '../../../src/providers/vault/auth/login.ts';
import { createLoginMemory } from '../../../src/providers/vault/auth/login-memory.ts';
import { authMethod } from '../../../src/providers/vault/auth/method.ts';
import type { VaultReply, VaultRequest } from '../../../src/providers/vault/reply.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { replyOf } from './reply-of.ts';
import { granted, LOGIN, refused } from './session-under-test.ts';

const SECRET = 'secret/data/t';
const LOOK_UP = 'auth/token/lookup-self';
const KV = { mount: 'secret', path: 't', field: 'token', kvVersion: 2 } as const;

type Reply = Result<VaultReply>;

/** What Vault Enterprise answers for a token that a performance standby does not know yet. */
const BEHIND = refused(412, 'required index state not present');

/** What KV version 2 answers for a version that was deleted. */
const DELETED = replyOf({ what: 'reading', holds: 'data' }, 404, {
  data: { data: null, metadata: { deletion_time: '2026-01-01T00:00:00Z' } },
});

function underTest(answerTo: (read: number) => Reply | undefined) {
  const clock = createDrivenClock(1_800_000_000_000);
  const requests: VaultRequest[] = [];
  const count = (path: string): number => requests.filter((seen) => seen.path === path).length;
  const returned: Login[] = [];
  const answers: Readonly<Record<string, (request: VaultRequest) => Reply>> = {
    [LOGIN]: () => granted(`login-${count(LOGIN)}`, 300),
    [SECRET]: (request) =>
      answerTo(count(SECRET)) ?? replyOf(request, 200, { data: { data: { token: 'dedicated' } } }),
    [LOOK_UP]: (request) =>
      replyOf(request, 200, { data: { ttl: 3600, renewable: true, num_uses: 0 } }),
  };
  const { unwrapped } = createLoginMemory(clock);
  const appRole = { mount: 'approle', roleID: 'role', secretIDWrapped: false };
  const first = authMethod({ appRole }, async () => '', unwrapped);
  const leaving = new AbortController();
  const asking: Asking = {
    async send(request) {
      requests.push(request);
      return answers[request.path]?.(request) ?? fail('internal', `${request.path} is not asked`);
    },
    signal: leaving.signal,
    clock,
    log: silentLog,
    late: () => assert.fail('no login is late'),
    giveBack: (login) => void returned.push(login),
  };
  const login = () => dedicatedToken(KV, first).login({}, asking);
  return { clock, count, returned, leaving, login };
}

const TABLE = [
  ['a standby that does not know the token yet', BEHIND, 4, 5, undefined],
  ['a server that is away for a moment', fail('unavailable', 'cut'), 2, 3, undefined],
  ['a standby that never learns of it', BEHIND, Number.POSITIVE_INFINITY, 7, /412/],
  ['a policy that denies the secret', refused(403), Number.POSITIVE_INFINITY, 1, /403/],
  ['a secret that is not there', refused(404, ''), Number.POSITIVE_INFINITY, 1, /404/],
  ['a secret that was deleted', DELETED, Number.POSITIVE_INFINITY, 1, /was the secret deleted/],
  ['a quota, which has a wait of its own', refused(429), Number.POSITIVE_INFINITY, 1, /429/],
] as const;

describe('the login whose token reads the dedicated one', () => {
  for (const [situation, answer, times, reads, failure] of TABLE) {
    it(`is one, and is given back: ${situation}`, async () => {
      const { clock, count, returned, login } = underTest((read) =>
        read <= times ? answer : undefined,
      );
      const outcome = login();
      await clock.advance(3_000);
      const ended = await outcome;
      assert.equal(count(LOGIN), 1);
      assert.equal(count(SECRET), reads);
      assert.deepEqual(
        returned.map(({ token }) => token),
        ['login-1'],
      );
      if (failure === undefined) assert.equal(ended.ok && ended.value.token, 'dedicated');
      else assert.match(ended.ok ? 'a token' : ended.error.message, failure);
      assert.equal(clock.pending, 0);
    });
  }

  it('is given back at once where nobody waits for it any more', async () => {
    const { clock, returned, leaving, login } = underTest(() => BEHIND);
    const outcome = login();
    await clock.advance(10);
    leaving.abort();
    assert.equal((await outcome).ok, false);
    assert.equal(returned.length, 1);
    assert.equal(clock.pending, 0);
  });
});
