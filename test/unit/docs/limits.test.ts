import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { LIMIT_ROWS, MEMORY_MAX_MIB, sumOf } from '../../../scripts/limits-table.ts';
import { HEAP_MEGABYTES, LIMITS } from '../../../src/limits.ts';

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

describe('the table of limits', () => {
  it('states each number of src/limits.ts in one row', () => {
    assert.deepEqual(LIMIT_ROWS.flatMap((row) => row.of).sort(), Object.keys(LIMITS).sort());
  });

  it('has each row once', () => {
    assert.equal(new Set(LIMIT_ROWS.map(({ name }) => name)).size, LIMIT_ROWS.length);
  });
});
