import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { schedule } from '../../soak/events.ts';
import { median, slopeOf } from '../../soak/slope.ts';
import { createTally } from '../../soak/tally.ts';
import { type Limits, memorySlope, type Sample, verdict } from '../../soak/verdict.ts';

const LIMITS: Limits = { bytesPer100kCalls: 1e6, openFiles: 100, statusP99Ms: 50 };

function samples(of: (i: number) => Partial<Sample>, count = 30): readonly Sample[] {
  return Array.from({ length: count }, (_, i) => ({
    seconds: i * 5,
    calls: i * 2_500,
    anonymousBytes: 40e6,
    openFiles: 30,
    queued: 3,
    statusP50Ms: 1,
    statusP99Ms: 5,
    inFlight: 50,
    ...of(i),
  }));
}

describe('the slope', () => {
  const whole = fc.integer({ min: -1_000_000, max: 1_000_000 });
  const xs = fc.uniqueArray(fc.integer({ min: 0, max: 100_000 }), { minLength: 2, maxLength: 50 });

  it('of points on a line is the slope of the line', () => {
    fc.assert(
      fc.property(xs, fc.integer({ min: -1000, max: 1000 }), whole, (at, a, b) => {
        const slope = slopeOf(at.map((x) => ({ x, y: a * x + b }))) ?? Number.NaN;
        assert.ok(Math.abs(slope - a) <= 1e-6 * Math.max(1, Math.abs(a)), `${slope} for ${a}`);
      }),
    );
  });

  it('stays what it is when all points move, and turns when they are mirrored', () => {
    const points = fc.array(fc.record({ x: fc.integer({ min: 0, max: 1000 }), y: whole }), {
      minLength: 2,
    });
    fc.assert(
      fc.property(points, whole, (some, by) => {
        const slope = slopeOf(some);
        const moved = slopeOf(some.map(({ x, y }) => ({ x: x + by, y: y - by })));
        const mirrored = slopeOf(some.map(({ x, y }) => ({ x, y: -y })));
        if (slope === undefined) return assert.deepEqual([moved, mirrored], [undefined, undefined]);
        const about = 1e-6 * Math.max(1, Math.abs(slope));
        assert.ok(Math.abs((moved ?? Number.NaN) - slope) <= about);
        assert.ok(Math.abs((mirrored ?? Number.NaN) + slope) <= about);
      }),
    );
  });

  it('is none of points above each other', () => {
    assert.equal(slopeOf([]), undefined);
    assert.equal(slopeOf([{ x: 1, y: 1 }]), undefined);
    assert.equal(slopeOf([1, 2].map((y) => ({ x: 7, y }))), undefined);
  });
});

describe('the median', () => {
  it('has as many values below it as above', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const middle = median(values) ?? Number.NaN;
        const [below, above] = [values.filter((v) => v < middle), values.filter((v) => v > middle)];
        assert.ok(below.length <= values.length / 2 && above.length <= values.length / 2);
      }),
    );
    assert.equal(median([]), undefined);
  });
});

describe('the verdict on a run', () => {
  it('is good where nothing grows', () => {
    assert.deepEqual(
      verdict(
        samples(() => ({})),
        LIMITS,
      ),
      [],
    );
  });

  it('finds memory that grows with the calls, by its slope over the second half', () => {
    const leaking = samples((i) => ({ anonymousBytes: 40e6 + i * 2_500 * 20 }));
    assert.equal(Math.round(memorySlope(leaking) ?? 0), 2_000_000);
    assert.deepEqual(verdict(leaking, LIMITS), [
      'memory grows by 2.00 MB per 100,000 calls, at most 1.00 are allowed',
    ]);
  });

  it('forgives a start that needs memory, and noise', () => {
    const warm = samples((i) => ({
      anonymousBytes: Math.min(45e6, 30e6 + i * 1e6) + (i % 3) * 1e4,
    }));
    assert.deepEqual(verdict(warm, LIMITS), []);
  });

  it('finds open files above the limit, even once', () => {
    assert.deepEqual(
      verdict(
        samples((i) => (i === 3 ? { openFiles: 101 } : {})),
        LIMITS,
      ),
      ['101 files were open, at most 100 are allowed'],
    );
  });

  it('finds open files and a queue that grow, however slowly', () => {
    const growing = samples((i) => ({ openFiles: 30 + (i >> 1), queued: i * 10 }));
    assert.deepEqual(verdict(growing, LIMITS), [
      'open files grew from 32 to 42',
      'queued items grew from 45 to 245',
    ]);
  });

  it('finds a Status that is slow and grows; slow alone or growing alone is none', () => {
    const p99 = (first: number, last: number): readonly string[] =>
      verdict(
        samples((i) => ({ statusP99Ms: i < 15 ? first : last })),
        LIMITS,
      );
    assert.deepEqual(p99(20, 60), ['p99 of Status grew from 20.0 to 60.0 ms, above 50 ms']);
    assert.deepEqual([...p99(60, 70), ...p99(2, 40)], []);
  });

  it('is not good where there was too little to see', () => {
    assert.match(
      verdict(
        samples(() => ({}), 8),
        LIMITS,
      ).join(),
      /too few samples \(8\)/,
    );
    assert.match(verdict([], LIMITS).join(), /too few samples \(0\).*no Status call was answered/);
  });
});

describe('the tally', () => {
  const failing = (code: status) => () =>
    Promise.reject(Object.assign(new Error(status[code]), { code }));

  it('excuses what fails while Vault is away, and nothing else', async () => {
    const tally = createTally();
    await tally.run('decrypt', failing(status.UNAVAILABLE));
    await tally.duringOutage(async () => {
      await tally.run('decrypt', failing(status.UNAVAILABLE));
      await tally.run('decrypt', failing(status.PERMISSION_DENIED));
    });
    const { calls, excused, wrong, sentences } = tally.counts();
    assert.deepEqual([calls, excused, wrong], [3, 1, 2]);
    assert.deepEqual([...sentences.keys()], ['decrypt: UNAVAILABLE', 'decrypt: PERMISSION_DENIED']);
  });

  it('excuses a call that an outage began or ended under', async () => {
    const tally = createTally();
    const gate = Promise.withResolvers<void>();
    const call = tally.run('decrypt', () => gate.promise.then(failing(status.DEADLINE_EXCEEDED)));
    await tally.duringOutage(async () => undefined);
    gate.resolve();
    await call;
    assert.deepEqual([tally.counts().excused, tally.counts().wrong], [1, 0]);
  });
});

describe('what happens to Vault', () => {
  it('is a rotation each minute, and restarts that leave the second half alone', () => {
    const tenMinutes = schedule(600_000, 2);
    assert.equal(tenMinutes.filter(({ what }) => what === 'rotate').length, 10);
    const restarts = tenMinutes.filter(({ what }) => what === 'restart');
    assert.deepEqual(
      restarts.map(({ atMs }) => atMs),
      [100_000, 200_000],
    );
    assert.deepEqual(
      tenMinutes,
      [...tenMinutes].sort((a, b) => a.atMs - b.atMs),
    );
    assert.deepEqual(schedule(10_000, 0), []);
  });
});
