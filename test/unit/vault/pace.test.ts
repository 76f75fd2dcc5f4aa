import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPace } from '../../../src/providers/vault/pace.ts';

const limitAfter = (...ms: readonly number[]): number => {
  const pace = createPace();
  for (const each of ms) pace.saw(each);
  return pace.limitMs();
};

describe('the time of a server before the next one is asked', () => {
  it('is a second, also for one that is fast or has not answered yet', () => {
    assert.equal(limitAfter(), 1_000);
    assert.equal(limitAfter(1, 20, 499), 1_000);
  });

  it('is twice what it took lately, where that is longer', () => {
    assert.equal(limitAfter(900), 1_800);
    assert.equal(limitAfter(5, 900), 1_800);
  });

  it('is never more than two seconds: the next one needs some of the three', () => {
    assert.equal(limitAfter(1_400), 2_000);
  });

  it('is a second again when it has answered fast for a while', () => {
    assert.ok(limitAfter(1_100, 5) > 1_900);
    assert.equal(limitAfter(1_100, ...Array<number>(10).fill(5)), 1_000);
  });
});
