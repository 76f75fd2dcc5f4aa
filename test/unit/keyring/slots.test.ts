import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createSlots } from '../../../src/keyring/slots.ts';

/** More than a share of whatever is under way. */
const MANY = 1_000;

function slotsAfter(ways: readonly number[], answered = true): number {
  const slots = createSlots();
  for (const way of ways) {
    assert.ok(slots.take(MANY, 0));
    slots.give(way, answered);
  }
  let free = 0;
  while (slots.take(MANY, 0)) free += 1;
  return free;
}

describe('how many requests may be under way', () => {
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
});

describe('a batch, where another one is under way', () => {
  const cases: readonly (readonly [string, number, number, boolean])[] = [
    ['leaves where calls do not outnumber the slots', 1, 1, true],
    ['leaves with half of its share', 8, 24, true],
    ['waits for more with less than that', 7, 25, false],
    ['leaves with all that there is of a few', 1, 2, true],
  ];
  for (const [name, waiting, underWay, leaves] of cases) {
    it(name, () => {
      const slots = createSlots();
      assert.ok(slots.take(1, 0), 'the first one always leaves');
      assert.equal(slots.take(waiting, underWay), leaves);
    });
  }
});
