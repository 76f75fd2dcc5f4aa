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
});
