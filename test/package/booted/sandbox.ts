/** What somebody who has taken the plugin over is kept from. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { makeAttempts } from '../attempts.ts';
import { hardeningTable } from '../hardening-table.ts';
import type { UnderTest } from './under-test.ts';

/** Needs an installed package. */
export function sandbox(under: UnderTest): void {
  it('every attempt from inside its sandbox is denied, and outside has the end that docs/hardening.md says', async () => {
    const seen = await makeAttempts(under.machine);
    assert.deepEqual(byName(seen), byName(hardeningTable()));
    assert.ok(seen.size >= 10);
  });
}

function byName<T>(outcomes: ReadonlyMap<string, T>): readonly (readonly [string, T])[] {
  return [...outcomes].sort(([a], [b]) => (a < b ? -1 : 1));
}
