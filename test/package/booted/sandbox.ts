/** What somebody who has taken the plugin over is kept from. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { makeAttempts } from '../attempts.ts';
import { hardeningTable } from '../hardening-table.ts';
import type { Shell } from '../nspawn.ts';

/** Fewer would not show that it is the sandbox that denies; of 30, on an ordinary host 21 do. */
const LEAST_WORKING = 12;

/** Needs an installed package. */
export function sandbox(under: { readonly machine: Shell }): void {
  it('every attempt from inside its sandbox is denied as docs/hardening.md says, and most work outside', async (t) => {
    const seen = await makeAttempts(under.machine);
    const table = hardeningTable();
    assert.deepEqual([...seen.keys()].sort(), [...table.keys()].sort());
    let worked = 0;
    for (const [name, { inside, outside }] of seen) {
      const expected = table.get(name);
      assert.notEqual(inside, 'worked', name);
      // What a host denies everybody proves nothing of the sandbox, nor by which wall it is stopped.
      if (outside === expected?.outside) assert.equal(inside, expected.inside, name);
      else
        t.diagnostic(`${name}: outside ${outside} on this host, ${expected?.outside} in the table`);
      if (outside === 'worked') worked += 1;
    }
    assert.ok(worked >= LEAST_WORKING, `${worked} attempts work outside the sandbox`);
  });
}
