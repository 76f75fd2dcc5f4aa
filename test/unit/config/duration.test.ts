import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatDuration, parseDuration } from '../../../src/config/duration.ts';
import { nearest } from '../../../src/config/nearest.ts';

describe('a duration', () => {
  const table: [string, number | undefined][] = [
    ['30s', 30_000],
    ['250ms', 250],
    ['1h30m', 5_400_000],
    ['1m500ms', 60_500],
    ['0s', 0],
    ['', undefined],
    ['30', undefined],
    ['-1s', undefined],
    ['1.5s', undefined],
    ['1s1m', undefined],
    [' 1s', undefined],
    ['1d', undefined],
    ['99999999999999999999h', undefined],
  ];
  for (const [text, ms] of table)
    it(`${JSON.stringify(text)} is ${ms}`, () => assert.equal(parseDuration(text), ms));

  it('is read as it was written', () => {
    fc.assert(fc.property(fc.nat({ max: 1e12 }), (ms) => parseDuration(formatDuration(ms)) === ms));
  });
});

describe('the nearest known word', () => {
  const known = ['secretIDFile', 'roleID', 'mount'];
  const table: [string, string | undefined][] = [
    ['secretIdFile', 'secretIDFile'],
    ['roleid', 'roleID'],
    ['mout', 'mount'],
    ['colour', undefined],
  ];
  for (const [word, expected] of table)
    it(`${word}: ${expected}`, () => assert.equal(nearest(word, known), expected));
});
