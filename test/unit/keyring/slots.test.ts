import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createSlots } from '../../../src/keyring/slots.ts';

function slotsAfter(ways: readonly number[], answered = true): number {
  const slots = createSlots();
  for (const way of ways) {
    assert.ok(slots.take());
    slots.give(way, answered);
  }
  let free = 0;
  while (slots.take()) free += 1;
  return free;
}

const cases: readonly (readonly [string, readonly number[], number])[] = [
  ['a provider that was not asked yet has two', [], 2],
  ['one that is near has two', [1, 1, 1], 2],
  ['one that is 6 ms away has three', [6], 3],
  ['one that is 20 ms away has eight', [20], 8],
  ['one that is very far away has sixteen', [400], 16],
  ['a single slow answer of a near one changes nothing', [1, 90, 1], 2],
  ['a way that has become longer is believed in the end', [1, ...Array(300).fill(20)], 8],
];
for (const [name, ways, expected] of cases) {
  it(name, () => assert.equal(slotsAfter(ways), expected));
}

it('a request that failed says nothing of the way', () => {
  assert.equal(slotsAfter([400, 400], false), 2);
});
