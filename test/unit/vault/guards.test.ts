import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fail, type Result } from '../../../src/providers/errors.ts';
import { createRefusals } from '../../../src/providers/vault/auth/refusals.ts';
import { createDenials } from '../../../src/providers/vault/denials.ts';
import { LEAST_DELAY_MS, renewalDelay, retryDelay } from '../../../src/providers/vault/renewal.ts';
import { createDrivenClock } from '../driven-clock.ts';

type Held = Result<never> | undefined;

/** A guard in the words of the table. */
type Guard = {
  /** Its trouble comes, of one kind or of another. */
  trouble(which: 'this' | 'other'): void;
  success(): void;
  /** What holds against a try of this kind now. */
  holds(): Held;
};

const START = 1_800_000_000_000;

const GUARDS: Readonly<Record<string, (clock: ReturnType<typeof createDrivenClock>) => Guard>> = {
  'of a path that was denied': (clock) => {
    const denials = createDenials(clock);
    const paths = { this: 'transit/encrypt/k', other: 'transit/keys/k' };
    return {
      trouble: (which) => denials.denied(paths[which], 'policy', fail('denied', which)),
      success: () => denials.accepted(paths.this),
      holds: () => denials.holds(paths.this, 'policy'),
    };
  },
  'of credentials that were refused': (clock) => {
    const refusals = createRefusals(clock);
    const attempt = { identity: 'role', credentials: 'secret' };
    return {
      trouble: (which) =>
        void refusals.refused({
          ...(which === 'this' ? attempt : { identity: 'another role', credentials: 'secret' }),
          message: which,
          counts: true,
          place: '/id',
        }),
      success: () => refusals.accepted('role'),
      holds: () => refusals.holds(attempt, false),
    };
  },
};

type Step = 'trouble' | 'other trouble' | 'success' | 'wait';

/** Steps, and whether the guard holds after them. A wait is as long as the first wait of each guard. */
const TABLE: readonly (readonly [readonly Step[], boolean])[] = [
  [[], false],
  [['trouble'], true],
  [['other trouble'], false],
  [['trouble', 'wait'], false],
  [['trouble', 'success'], false],
  [['trouble', 'other trouble', 'success'], false],
  [['trouble', 'wait', 'trouble'], true],
  [['trouble', 'wait', 'trouble', 'wait'], true],
  [['trouble', 'wait', 'trouble', 'success', 'trouble', 'wait'], false],
  [['trouble', 'success', 'trouble'], true],
  [['success', 'trouble', 'wait'], false],
  [['trouble', 'other trouble', 'wait'], false],
];

const FIRST_WAIT_MS = 10_000;

for (const [name, guard] of Object.entries(GUARDS)) {
  describe(`the guard ${name}`, () => {
    for (const [steps, holds] of TABLE) {
      it(`${holds ? 'holds' : 'does not hold'} after ${steps.join(', ') || 'nothing'}`, async () => {
        const clock = createDrivenClock(START);
        const under = guard(clock);
        for (const step of steps) {
          switch (step) {
            case 'trouble':
              under.trouble('this');
              break;
            case 'other trouble':
              under.trouble('other');
              break;
            case 'success':
              under.success();
              break;
            case 'wait':
              await clock.advance(FIRST_WAIT_MS);
          }
        }
        assert.equal(under.holds() !== undefined, holds);
      });
    }
  });
}

describe('a diagnosis of a path', () => {
  const rows = [
    ['policy', 'policy', true],
    ['policy', 'token', false],
    ['token', 'token', true],
    ['token', 'policy', true],
  ] as const;
  for (const [known, now, holds] of rows) {
    it(`of the ${known} ${holds ? 'holds' : 'does not hold'} where Vault denies the ${now}`, () => {
      const denials = createDenials(createDrivenClock(START));
      denials.denied('transit/encrypt/k', known, fail('denied', known));
      assert.equal(denials.holds('transit/encrypt/k', now) !== undefined, holds);
    });
  }
});

describe('logins that Vault refused', () => {
  const attempt = { identity: 'role', credentials: 'old' };
  const wrong = { ...attempt, message: 'refused', counts: true, place: '/etc/secret-id' };

  it('never add up to five within fifteen minutes, however often a person asks', async () => {
    const clock = createDrivenClock(START);
    const refusals = createRefusals(clock);
    const sent: number[] = [];
    // A reload every ten seconds for an hour, and the watcher each second between.
    for (let second = 0; second < 3_600; second += 1) {
      if (refusals.holds(attempt, second % 10 === 0) === undefined) {
        sent.push(clock.now());
        refusals.refused(wrong);
      }
      await clock.advance(1_000);
    }
    assert.ok(sent.length >= 6, `${sent.length}`);
    for (const at of sent) {
      const within = sent.filter((other) => other >= at && other - at < 15 * 60_000);
      assert.ok(within.length <= 4, `${within.length} wrong logins within fifteen minutes`);
    }
  });

  it('wait 5 s and 30 s and then until a lock-out would be over, where they may be counted', () => {
    const clock = createDrivenClock(START);
    const refusals = createRefusals(clock);
    const said = [1, 2, 3].map(() => refusals.refused(wrong).error.message);
    for (const [i, at] of ['08:00:05Z', '08:00:30Z', '08:16:00Z'].entries())
      assert.ok(said[i]?.includes(`the next try is at 2027-01-15T${at}`), said[i]);
    assert.match(said[2] ?? '', /at once where \/etc\/secret-id changes, at once after SIGHUP/);
  });

  it('wait 30 s at most where they are not counted, as while the user is locked out', () => {
    const refusals = createRefusals(createDrivenClock(START));
    const uncounted = { ...wrong, counts: false };
    const said = Array.from({ length: 12 }, () => refusals.refused(uncounted).error.message);
    assert.ok(said.at(-1)?.includes('2027-01-15T08:00:30Z'), said.at(-1));
  });

  it('hold nothing against other credentials, which a person wrote', () => {
    const refusals = createRefusals(createDrivenClock(START));
    for (let i = 0; i < 4; i += 1) refusals.refused(wrong);
    assert.ok(refusals.holds(attempt, true) !== undefined);
    assert.match(refusals.holds(attempt, true)?.error.message ?? '', /SIGHUP tries no sooner/);
    assert.equal(refusals.holds({ ...attempt, credentials: 'new' }, false), undefined);
  });
});

describe('every delay', () => {
  it('of a renewal is a second at least, in the last second of a token too', () => {
    for (const left of [0, 1, 10, 500, 999, 1_000])
      for (const random of [0, 0.5, 0.999]) {
        assert.ok((renewalDelay(left, random) ?? 0) >= LEAST_DELAY_MS);
        assert.ok(retryDelay(left, random) >= LEAST_DELAY_MS);
      }
  });
});
