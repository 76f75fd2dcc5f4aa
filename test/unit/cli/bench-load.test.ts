import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLatencies } from '../../../src/cli/bench/latencies.ts';
import { type Call, load } from '../../../src/cli/bench/load.ts';
import {
  differencesOf,
  type Measurement,
  type Report,
  reportJson,
  reportTable,
} from '../../../src/cli/bench/report.ts';
import { prepareCalls, type Sealed, type Way } from '../../../src/cli/bench/way.ts';
import { fail, succeed } from '../../../src/providers/errors.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';

const never = new AbortController().signal;

describe('percentiles', () => {
  const times = fc.array(fc.integer({ min: 1, max: 10_000_000 }), { minLength: 1, maxLength: 300 });

  it('are those of the rank, to a thousandth', () => {
    fc.assert(
      fc.property(times, fc.constantFrom(1, 50, 90, 99, 100), (microseconds, percent) => {
        const latencies = createLatencies();
        for (const us of microseconds) latencies.record(us / 1000);
        const sorted = [...microseconds].sort((a, b) => a - b);
        const rank = (percent / 100) * sorted.length;
        const at = (n: number): number => (sorted[Math.max(1, n) - 1] ?? 0) / 1000;
        const found = latencies.percentile(percent) ?? 0;
        assert.ok(found >= at(Math.floor(rank)) * 0.999, `${found} is too little`);
        assert.ok(found <= at(Math.ceil(rank)) * 1.001, `${found} is too much`);
        assert.equal(latencies.count(), microseconds.length);
      }),
    );
  });

  it('are none without a call, and a call takes at least a microsecond', () => {
    const latencies = createLatencies();
    assert.equal(latencies.percentile(50), undefined);
    latencies.record(0);
    assert.equal(latencies.percentile(50), 0.001);
  });
});

describe('a load', () => {
  it('has as many calls under way as was asked for, and counts each that went well', async () => {
    const clock = createDrivenClock();
    const answer = Promise.withResolvers<undefined>();
    let underWay = 0;
    const call: Call = () => {
      underWay += 1;
      return answer.promise;
    };
    const loading = load(call, { concurrency: 7, ms: 2_000, clock, signal: never });
    await clock.advance(2_000);
    assert.equal(underWay, 7);
    answer.resolve(undefined);
    const { p50Ms = 0, p99Ms = 0, ...figures } = await loading;
    assert.deepEqual(figures, { calls: 7, callsPerSecond: 3.5, errors: 0, firstError: undefined });
    for (const time of [p50Ms, p99Ms]) assert.ok(Math.abs(time - 2_000) <= 2, `${time}`);
  });

  it('counts failed calls apart, keeps the first reason, and does not flood who refuses', async () => {
    const clock = createDrivenClock();
    let asked = 0;
    const call: Call = async () => {
      asked += 1;
      return `refused ${asked}`;
    };
    const loading = load(call, { concurrency: 1, ms: 250, clock, signal: never });
    for (let i = 0; i < 3; i += 1) {
      await clock.advance(100);
      await settle();
    }
    assert.deepEqual(await loading, {
      ...{ calls: 0, callsPerSecond: 0, p50Ms: undefined, p99Ms: undefined },
      ...{ errors: 3, firstError: 'refused 1' },
    });
    assert.equal(clock.pending, 0);
  });

  it('ends when it is told to, even where no call ever waits for anything', async () => {
    const interrupt = new AbortController();
    setTimeout(() => interrupt.abort(), 1);
    const options = { concurrency: 2, ms: 3_600_000, clock: systemClock, signal: interrupt.signal };
    const figures = await load(async () => undefined, options);
    assert.ok(figures.calls > 0);
  });

  it('does not count what the end made fail', async () => {
    const interrupt = new AbortController();
    const call: Call = async () => {
      interrupt.abort();
      return 'aborted';
    };
    const options = { concurrency: 3, ms: 3_600_000, clock: systemClock, signal: interrupt.signal };
    assert.equal((await load(call, options)).errors, 0);
  });
});

describe('the calls that are measured', () => {
  const seal = (plaintext: Uint8Array): Sealed => {
    return { ciphertext: Buffer.from(plaintext).reverse(), key_id: '', annotations: new Map() };
  };
  const way = (more: Partial<Way> = {}): Way => ({
    name: 'direct',
    encrypt: async (plaintext) => succeed(seal(plaintext)),
    decrypt: async ({ ciphertext }) => succeed(Buffer.from(ciphertext).reverse()),
    stop: async () => undefined,
    ...more,
  });

  it('decrypt ciphertexts that are all different, one after the other', async () => {
    const seen: string[] = [];
    const watched = way({
      decrypt: async ({ ciphertext }) => {
        seen.push(Buffer.from(ciphertext).toString('hex'));
        return succeed(Buffer.from(ciphertext).reverse());
      },
    });
    const calls = await prepareCalls(watched, 20, never);
    assert.ok(calls.ok);
    for (let i = 0; i < 40; i += 1) assert.equal(await calls.value.decrypt(never), undefined);
    assert.equal(new Set(seen.slice(0, 20)).size, 20);
    assert.deepEqual(seen.slice(20), seen.slice(0, 20));
  });

  it('fail where the answer is wrong, without showing it', async () => {
    const lying = way({ decrypt: async () => succeed(Buffer.from('secret')) });
    const calls = await prepareCalls(lying, 1, never);
    assert.ok(calls.ok);
    assert.match((await calls.value.decrypt(never)) ?? '', /^WRONG ANSWER: [a-z ]+$/);
  });

  it('are none where nothing can be encrypted', async () => {
    const refused = fail('denied', 'no');
    assert.equal(await prepareCalls(way({ encrypt: async () => refused }), 1, never), refused);
  });
});

describe('the report', () => {
  const cell = (w: Way['name'], rate: number, p50Ms: number | undefined): Measurement => ({
    ...({ operation: 'decrypt', concurrency: 16, way: w } as const),
    ...{
      calls: rate,
      callsPerSecond: rate,
      p50Ms,
      p99Ms: p50Ms === undefined ? undefined : 2 * p50Ms,
    },
    ...{
      errors: p50Ms === undefined ? 3 : 0,
      firstError: p50Ms === undefined ? 'it broke' : undefined,
    },
  });
  const report = (measurements: readonly Measurement[]): Report => ({
    ...{ version: '1', seconds: 5, complete: true, socket: '/s', notes: [], measurements },
    direct: { provider: 'one', kind: 'vault' },
  });

  it('says what the plugin adds, in a table', () => {
    assert.equal(
      reportTable(report([cell('direct', 1000, 1), cell('plugin', 2500, 0.75)])),
      `         at once  way                 calls/s  p50 ms  p99 ms  errors
decrypt       16  vault alone            1000    1.00    2.00       0
decrypt       16  through the plugin     2500    0.75    1.50       0
                  difference           x 2.50   -0.25   -0.50
`,
    );
  });

  it('shows what failed, and that it was ended early', () => {
    const text = reportTable({ ...report([cell('plugin', 0, undefined)]), complete: false });
    assert.match(text, /through the plugin +0 +- +- +3\n/);
    assert.match(text, /^decrypt at 16, plugin: it broke\nIt was ended early/m);
    assert.doesNotMatch(text, /difference/);
  });

  it('has null in JSON for what was not measured', () => {
    const json = reportJson(report([cell('direct', 0, undefined), cell('plugin', 10, 1.23456)]));
    const { measurements, differences } = JSON.parse(json);
    assert.deepEqual([measurements[0].p50Ms, measurements[0].firstError], [null, 'it broke']);
    assert.equal(measurements[1].p50Ms, 1.235);
    assert.deepEqual(differences, [
      { operation: 'decrypt', concurrency: 16, callsPerSecond: null, p50Ms: null, p99Ms: null },
    ]);
  });

  it('compares only what was measured both ways at the same concurrency', () => {
    assert.deepEqual(differencesOf([cell('plugin', 1, 1)]), []);
    const other = { ...cell('direct', 1, 1), concurrency: 1 };
    assert.deepEqual(differencesOf([other, cell('plugin', 1, 1)]), []);
  });
});
