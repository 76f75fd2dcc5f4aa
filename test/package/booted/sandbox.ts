/** What somebody who has taken the plugin over is kept from. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ATTEMPTS, makeAttempts } from '../attempts.ts';
import { hardeningTable } from '../hardening-table.ts';
import type { UnderTest } from './under-test.ts';

/** Needs an installed package. */
export function sandbox(under: UnderTest): void {
  it('every attempt from inside its sandbox is denied, as docs/hardening.md says', async () => {
    const seen = await makeAttempts(under.machine);
    const table = hardeningTable();
    const wrong = seen.filter(({ name, inside, outside }, i) => {
      const free = ATTEMPTS[i]?.freeOutside === true;
      return inside !== table.get(name)?.inside || (outside === 'ok') !== free;
    });
    assert.deepEqual(wrong, []);
    assert.ok(seen.length >= 10);
  });
}
