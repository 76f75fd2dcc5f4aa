import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { renewalDelay, retryDelay, shrinks } from '../../../src/providers/vault/renewal.ts';

const DAY = 24 * 3_600_000;
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const lives = fc.integer({ min: 1, max: 400 * DAY });

describe('when a token is renewed', () => {
  it('at two thirds of its life, or up to a tenth of that earlier', () => {
    assert.equal(renewalDelay(90_000, 0), 60_000);
    assert.equal(renewalDelay(90_000, 0.5), 57_000);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: DAY }), chance, (ttl, random) => {
        const delay = renewalDelay(ttl, random) ?? Number.NaN;
        const least = Math.max(1_000, ttl * 0.6);
        assert.ok(delay >= least - 1e-6 && delay <= Math.max(1_000, (ttl * 2) / 3), `${delay}`);
      }),
    );
  });

  it('once a day where it lives for ever so long, which the timers of Node can hold', () => {
    fc.assert(
      fc.property(lives, chance, (ttl, random) => {
        const delay = renewalDelay(ttl, random) ?? Number.NaN;
        assert.ok(delay >= 1_000 && delay <= DAY && delay < Math.max(ttl, 1_001));
      }),
    );
    assert.equal(renewalDelay(400 * DAY, 0), DAY);
  });

  it('never where it does not expire', () => {
    assert.equal(renewalDelay(Number.POSITIVE_INFINITY, 0.5), undefined);
  });
});

describe('when a failed renewal is tried again', () => {
  it('several times within what is left, never in a tight loop, at most five seconds later', () => {
    assert.equal(retryDelay(8_000, 0), 2_000);
    assert.equal(retryDelay(3_600_000, 0), 5_000);
    assert.equal(retryDelay(10, 0), 1_000);
    fc.assert(
      fc.property(lives, chance, (left, random) => {
        const delay = retryDelay(left, random);
        assert.ok(delay >= 1_000 && delay <= 5_000, `${delay}`);
        if (left >= 4_000) assert.ok(delay <= left / 4);
      }),
    );
  });

  it('not by all nodes at the same moment', () => {
    assert.notEqual(retryDelay(8_000, 0), retryDelay(8_000, 0.9));
  });
});

describe('whether renewing no longer helps', () => {
  const table: readonly (readonly [number, number, boolean])[] = [
    [60_000, 60_000, false],
    [59_000, 60_000, false],
    [54_000, 60_000, false],
    [53_999, 60_000, true],
    [0, 60_000, true],
    [120_000, 60_000, false],
  ];
  for (const [renewed, granted, exhausted] of table) {
    it(`${granted} ms granted, ${renewed} ms renewed: ${exhausted ? 'log in' : 'go on'}`, () => {
      assert.equal(shrinks(renewed, granted), exhausted);
    });
  }
});
