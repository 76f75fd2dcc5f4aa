/** docs/hardening.md tells of the attempts that the tests make, and of no others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ATTEMPTS } from './attempts.ts';
import { hardeningTable } from './hardening-table.ts';

test('docs/hardening.md has a row for each attempt that is made, and none for another', () => {
  const made = ATTEMPTS.map(({ name }) => name).sort();
  assert.deepEqual([...hardeningTable().keys()].sort(), made);
});

test('each row tells of a denial inside, and outside of one or that it worked', () => {
  for (const [name, { inside, outside }] of hardeningTable()) {
    assert.match(inside, /^E[A-Z]+$/, name);
    assert.match(outside, /^(worked|E[A-Z]+)$/, name);
  }
});
