import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LANES, scheduleOf } from '../../robustness/schedule.ts';

const HOUR_MS = 3_600_000;

describe('the schedule of faults', () => {
  it('is the same for the same seed, and another one for another', () => {
    assert.deepEqual(scheduleOf(7, HOUR_MS), scheduleOf(7, HOUR_MS));
    assert.notDeepEqual(scheduleOf(7, HOUR_MS), scheduleOf(8, HOUR_MS));
  });

  it('has every kind of fault in an hour, in the order of time, and none that outlasts it', () => {
    const faults = scheduleOf(1, HOUR_MS);
    const kinds = Object.values(LANES).flatMap((lane) => Object.keys(lane.kinds));
    assert.deepEqual([...new Set(faults.map(({ kind }) => kind))].sort(), kinds.sort());
    assert.ok(faults.every(({ atMs, forMs }) => atMs + forMs < HOUR_MS));
    assert.deepEqual(
      faults.map(({ atMs }) => atMs),
      faults.map(({ atMs }) => atMs).sort((a, b) => a - b),
    );
    assert.deepEqual(
      faults.map(({ id }) => id),
      faults.map((_, i) => i),
    );
  });

  it('never has two faults of one lane at once', () => {
    for (const faults of Map.groupBy(scheduleOf(1, HOUR_MS), ({ lane }) => lane).values()) {
      let freeMs = 0;
      for (const { atMs, forMs } of faults) {
        assert.ok(atMs >= freeMs);
        freeMs = atMs + forMs;
      }
    }
  });
});
