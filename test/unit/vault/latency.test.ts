import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLatency } from '../../../src/providers/vault/latency.ts';

const seen = (...ms: readonly number[]): number | undefined => {
  const latency = createLatency();
  for (const each of ms) latency.saw(each);
  return latency.p95();
};
const times = (count: number, ms: (i: number) => number): number[] =>
  Array.from({ length: count }, (_, i) => ms(i));

describe('the 95th percentile of the latency', () => {
  it('is unknown until twenty answers were seen', () => {
    assert.equal(seen(...times(19, () => 5)), undefined);
    assert.equal(seen(...times(20, () => 5)), 5);
  });

  it('begins with the longest of them', () => {
    assert.equal(seen(...times(20, (i) => i)), 19);
  });

  it('comes near the real one: of 1 to 100 ms, each as often as the others', () => {
    // 37 and 100 have no divisor in common, so each hundred holds every number once.
    const p95 = seen(...times(5_000, (i) => ((i * 37) % 100) + 1)) ?? 0;
    assert.ok(p95 > 80 && p95 <= 110, `${p95}`);
  });

  it('follows answers that become slower, and faster again', () => {
    const slow = times(200, () => 100);
    const slower = seen(...times(20, () => 1), ...slow) ?? 0;
    assert.ok(slower > 90 && slower < 115, `${slower}`);
    const faster = seen(...times(20, () => 1), ...slow, ...times(3_000, () => 1)) ?? 0;
    assert.ok(faster < 2, `${faster}`);
  });

  it('is hardly moved by one outlier', () => {
    const p95 = seen(...times(100, () => 10), 60_000) ?? 0;
    assert.ok(p95 < 12, `${p95}`);
  });

  it('is never below zero, nor far above the longest that was seen', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 60_000, noNaN: true }), { minLength: 20 }),
        (all) => {
          const p95 = seen(...all) ?? Number.NaN;
          assert.ok(p95 >= -0.1 && p95 <= Math.max(...all) * 1.1 + 0.1, `${p95}`);
        },
      ),
    );
  });
});
