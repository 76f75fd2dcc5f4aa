import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { lostVersions, type Succession, succession } from '../../../src/keyring/succession.ts';
import type { KeyDescription, KeyVersion } from '../../../src/providers/provider.ts';

/** A key of versions like `1`, or `2@9` for one with another creation time, or `2#x` for another key. */
function key(versions: string, minDecryptionVersion = 1, path = 'key'): KeyDescription {
  const parsed = versions.split(' ').map((text): KeyVersion => {
    const [, version, at, checkValue] = /^(\d+)(?:@(\d+))?(?:#(\w+))?$/.exec(text) ?? [];
    const createdAt = Number(at ?? version);
    return { version: Number(version), createdAt, ...(checkValue ? { checkValue } : {}) };
  });
  const current = parsed.at(-1);
  assert.ok(current !== undefined);
  return {
    ...{ path: ['fake', path], versions: parsed, current, minDecryptionVersion },
    facts: { type: 'aes256-gcm', deletable: false, exportable: false },
  };
}

describe('what a description is to the announced key', () => {
  const table: readonly [string, KeyDescription, KeyDescription, Succession, readonly number[]][] =
    [
      ['the same', key('1 2'), key('1 2'), 'continues', []],
      ['rotated', key('1 2'), key('1 2 3'), 'continues', []],
      ['rotated twice, older ones retired', key('1 2'), key('3 4', 3), 'continues', []],
      ['rotated, the announced one still the oldest', key('1 2'), key('2 3', 2), 'continues', []],
      ['an older copy', key('1 2'), key('1'), 'behind', [2]],
      ['two versions older', key('1 2 3'), key('1'), 'behind', [2, 3]],
      ['a policy that was taken back as well', key('2 3', 2), key('1 2'), 'behind', [3]],
      ['rotated again after an older copy', key('1 2'), key('1 2@9'), 'replaced', [2]],
      ['rotated twice after an older copy', key('1 2'), key('1 2@9 3'), 'replaced', [2]],
      ['made again', key('1'), key('1@9'), 'replaced', [1]],
      ['made again with an earlier time', key('1@9'), key('1'), 'replaced', [1]],
      ['made again, and rotated beyond', key('1 2'), key('1@9 2@9 3@9'), 'replaced', [1, 2]],
      ['another key with the same time', key('1#a'), key('1#b'), 'replaced', [1]],
      ['another key of another path', key('1'), key('1', 1, 'other'), 'replaced', []],
      ['older current, the announced one still there', key('1 2'), older(key('1 2')), 'behind', []],
      ['an earlier version lost, the announced one there', key('1 2'), key('2'), 'continues', [1]],
      ['an earlier version replaced', key('1 2'), key('1@9 2'), 'continues', [1]],
    ];
  for (const [what, announced, seen, expected, lost] of table) {
    it(`${what}: ${expected}`, () => {
      assert.equal(succession(announced, seen), expected);
      assert.deepEqual(lostVersions(announced, seen), lost);
    });
  }
});

function older(description: KeyDescription): KeyDescription {
  const current = description.versions[0];
  assert.ok(current !== undefined);
  return { ...description, current };
}
