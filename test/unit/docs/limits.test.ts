import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { MEMORY_MAX_MIB, sumOf } from '../../../scripts/limits-table.ts';
import { HEAP_MEGABYTES } from '../../../src/limits.ts';

const MOST_USED = 0.75;

describe('what all limits allow together', () => {
  it('fits into the heap, with a quarter to spare', () => {
    assert.ok(sumOf('heap') <= HEAP_MEGABYTES * MOST_USED, `${sumOf('heap')} MiB`);
  });

  it("fits into the unit's MemoryMax, with a quarter to spare", () => {
    const unit = readFileSync('systemd/trousseau.service', 'utf8');
    assert.equal(/^MemoryMax=(\d+)M$/m.exec(unit)?.[1], `${MEMORY_MAX_MIB}`);
    const all = sumOf('heap') + sumOf('outside');
    assert.ok(all <= MEMORY_MAX_MIB * MOST_USED, `${all} MiB`);
  });
});
