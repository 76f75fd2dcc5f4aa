/** What somebody who has taken the plugin over is kept from. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { makeAttempts } from '../attempts.ts';
import { hardeningTable } from '../hardening-table.ts';
import { property, SERVICE } from '../installation.ts';
import type { Shell } from '../nspawn.ts';

/** Fewer would not show that it is the sandbox that denies; of 30, on an ordinary host 21 do. */
const LEAST_WORKING = 12;

/** The value of `elf-headers`, core(5): no memory at all. */
const NO_MEMORY = /^0*10$/;

/** Needs an installed package, and its service active. */
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

  it('a core dump has no memory in it, also where a program takes it, for which the limit does not hold', async () => {
    const pid = await property(under.machine, SERVICE, 'MainPID');
    assert.match(
      await under.machine.must(['cat', `/proc/${pid}/limits`]),
      /^Max core file size +0 +0 /m,
    );
    assert.match(
      (await under.machine.must(['cat', `/proc/${pid}/coredump_filter`])).trim(),
      NO_MEMORY,
    );
  });
}
