import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { boundedTimeout } from '../../../src/kms/deadline.ts';

describe('grpc-timeout', () => {
  const table: readonly (readonly [string, string])[] = [
    ['3S', '3S'],
    ['2999874u', '2999874u'],
    ['1n', '1n'],
    ['0S', '0S'],
    ['60M', '60M'],
    ['1H', '1H'],
    ['2H', '1H'],
    ['596H', '1H'],
    ['597H', '1H'],
    ['99999999H', '1H'],
    ['99999999M', '1H'],
    ['99999999S', '1H'],
    ['99999999m', '1H'],
    ['99999999u', '99999999u'],
    ['', 'of another form'],
    ['S', 'of another form'],
    ['1', 'of another form'],
    ['123456789S', 'of another form'],
    ['1s', 'of another form'],
    ['-1S', 'of another form'],
    ['x1S', 'of another form'],
    ['1S\ud800', 'of another form'],
  ];
  for (const [header, bounded] of table) {
    it(`${JSON.stringify(header)} is taken as ${bounded}`, () =>
      assert.equal(boundedTimeout(header), bounded));
  }

  const waited: readonly (readonly [string, number, string])[] = [
    ['3S', 0, '3S'],
    ['3S', 250.5, '2749m'],
    ['1H', 1_000, '3599000m'],
    ['99999999H', 1_000, '3599000m'],
    ['99999999m', 1_000, '3599000m'],
    ['2999874u', 1_000, '1999m'],
    ['3S', 2_999.5, '1m'],
    ['3S', 60_000, '1m'],
    ['1s', 1_000, 'of another form'],
  ];
  for (const [header, ms, left] of waited) {
    it(`${header} is taken as ${left} of a call that has waited ${ms} ms for its turn`, () =>
      assert.equal(boundedTimeout(header, ms), left));
  }
});
