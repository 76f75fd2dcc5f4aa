import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLog } from '../../../src/observe/log.ts';
import { createRevocations } from '../../../src/providers/vault/revocations.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { replyOf } from './reply-of.ts';
import { broken, refused } from './session-under-test.ts';

const HOUR_MS = 3_600_000;
const DONE = replyOf({ what: 'revoking the token', holds: 'nothing' }, 204, undefined);

function underTest() {
  const clock = createDrivenClock(1_800_000_000_000);
  const lines: string[] = [];
  const vault = { answer: DONE, asked: 0 };
  const revocations = createRevocations({
    async send() {
      vault.asked += 1;
      return vault.answer;
    },
    clock,
    log: createLog({ level: 'info', format: 'json', write: (line) => void lines.push(line) }),
  });
  return { clock, lines, vault, revocations };
}

/** What keeps Vault from taking a token back for a while. */
const PASSING = [
  ['a quota', refused(429, 'rate limit quota exceeded')],
  ['a Vault that is sealed', refused(503, 'Vault is sealed')],
  ['a Vault that cannot write its audit log', refused(500, 'internal error')],
  ['a Vault that is away', broken()],
] as const;

/** What Vault says of the token itself. */
const LASTING = [
  ['a token that has ended', refused(403, 'permission denied')],
  ['a batch token', refused(400, 'batch tokens cannot be revoked')],
] as const;

describe('a token that is not given back at the stop of its session, as by a reload', () => {
  for (const [what, answer] of PASSING) {
    it(`is given back by the process that lives on, when the trouble is over: ${what}`, async () => {
      const { clock, lines, vault, revocations } = underTest();
      vault.answer = answer;
      revocations.add({ token: 't', ttlMs: HOUR_MS }, 10_000);
      const stopped = revocations.stop();
      await clock.advance(0);
      await stopped;
      assert.equal(vault.asked, 1);
      assert.equal(lines.filter((line) => line.includes('not given back')).length, 1);
      const left = revocations.left();
      assert.ok(left);
      await clock.advance(120_000);
      vault.answer = DONE;
      const asked = vault.asked;
      await clock.advance(60_000);
      await left;
      assert.equal(vault.asked, asked + 1);
      assert.equal(revocations.left(), undefined);
      assert.equal(clock.pending, 0);
    });
  }

  it('is tried again for an hour, where the token lives longer', async () => {
    const { clock, vault, revocations } = underTest();
    vault.answer = broken();
    revocations.add({ token: 't', ttlMs: Number.POSITIVE_INFINITY }, 0);
    await clock.advance(0);
    await revocations.stop();
    await clock.advance(HOUR_MS + 60_000);
    assert.equal(revocations.left(), undefined);
    assert.equal(clock.pending, 0);
    assert.ok(vault.asked <= 66, `${vault.asked} requests`);
  });

  for (const [what, answer] of LASTING) {
    it(`is not tried again: ${what}`, async () => {
      const { clock, vault, revocations } = underTest();
      vault.answer = answer;
      revocations.add({ token: 't', ttlMs: HOUR_MS }, 10_000);
      await revocations.stop();
      assert.equal(revocations.left(), undefined);
      assert.equal(vault.asked, 1);
      assert.equal(clock.pending, 0);
    });
  }
});
