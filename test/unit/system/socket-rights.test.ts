import assert from 'node:assert/strict';
import { chmodSync, chownSync, lstatSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { directoriesTo, directoryRefusal, shutOut } from '../../../src/system/socket-rights.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const ALLOWED = undefined;

describe('the directory of a socket', () => {
  for (const [what, above, own, shared, said] of [
    ['its own user alone', 0o700, 0o700, false, ALLOWED],
    ['a group that passes it', 0o755, 0o750, false, ALLOWED],
    ['a sticky directory above', 0o1777, 0o750, false, ALLOWED],
    [
      'its group',
      0o755,
      0o770,
      false,
      /run can be written by others: chmod 0750 .*sharedDirectory/,
    ],
    ['everybody', 0o755, 0o777, false, /run can be written by others: chmod 0750/],
    [
      'everybody, and sticky',
      0o755,
      0o1777,
      false,
      /a directory of its own, such as .*run\/trousseau$/,
    ],
    [
      'everybody, in the one above',
      0o777,
      0o750,
      false,
      /above, above the socket's, can be written/,
    ],
    ['a group, in the one above', 0o775, 0o750, false, /above, above the socket's, can be written/],
    ['trusted containers', 0o755, 0o777, true, ALLOWED],
    ['trusted containers, in the one above', 0o777, 0o750, true, ALLOWED],
  ] as const) {
    it(`that can be written by ${what} is ${said === ALLOWED ? 'taken' : 'refused'}`, (t) => {
      const parent = join(temporaryFolder(t), 'above');
      const directory = join(parent, 'run');
      mkdirSync(directory, { recursive: true });
      // Root's own group counts as root.
      if (process.getuid?.() === 0)
        for (const path of [parent, directory]) chownSync(path, -1, 4_711);
      chmodSync(parent, above);
      chmodSync(directory, own);
      const problem = directoryRefusal(directory, shared)?.problem;
      if (said === ALLOWED) assert.equal(problem, undefined);
      else assert.match(problem ?? '', said);
    });
  }

  it('is refused where it is not there', (t) => {
    assert.match(
      directoryRefusal(join(temporaryFolder(t), 'away'), false)?.problem ?? '',
      /cannot inspect directory .*away: ENOENT/,
    );
  });

  it('is as open as where a link on the way to it leads', (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'open', 'run'), { recursive: true });
    chmodSync(join(folder, 'open'), 0o777);
    symlinkSync('open', join(folder, 'link'));
    const directory = join(folder, 'link', 'run');
    assert.match(directoryRefusal(directory, false)?.problem ?? '', /open, above the socket's/);
    const paths = directoriesTo(directory).map(({ path }) => path);
    assert.equal(paths.includes(join(folder, 'link')), false);
    assert.deepEqual(paths.slice(-2), [join(folder, 'open'), join(folder, 'open', 'run')]);
  });

  it('is not found through links that lead in a circle', (t) => {
    const folder = temporaryFolder(t);
    symlinkSync('b', join(folder, 'a'));
    symlinkSync('a', join(folder, 'b'));
    assert.match(directoryRefusal(join(folder, 'a', 'run'), false)?.problem ?? '', /ELOOP/);
  });
});

describe('a group that may use the socket', () => {
  for (const [what, mode, ours, said] of [
    ['can pass a directory of its own', 0o750, true, []],
    ['can pass one that everybody passes', 0o711, false, []],
    [
      'is shut out by a directory of another group',
      0o750,
      false,
      [/\): chgrp \d+ \S*run; chmod g\+x \S*run$/],
    ],
    ['is shut out by a directory of its own without x', 0o705, true, [/\): chmod g\+x \S*run$/]],
  ] as const) {
    it(what, (t) => {
      const directory = join(temporaryFolder(t), 'run');
      mkdirSync(directory);
      chmodSync(directory, mode);
      const { gid } = lstatSync(directory);
      const found = shutOut(directory, ours ? gid : gid + 1).filter((why) => why.includes('/run '));
      assert.equal(found.length, said.length);
      for (const [i, pattern] of said.entries()) assert.match(found[i] ?? '', pattern);
    });
  }

  it('is told how: as systemd does it where the directory is of its unit', (t) => {
    const directory = join(temporaryFolder(t), 'run');
    mkdirSync(directory);
    chmodSync(directory, 0o700);
    const { gid } = lstatSync(directory);
    for (const [which, ofUnit, hidden, expected] of [
      [gid, [directory], false, /\): set RuntimeDirectoryMode=0750 in the service unit$/],
      [gid + 1, [directory], false, /^group \d+ may .*\): set Group= in the service unit to that/],
      [gid + 1, [directory], true, /^the group of the socket may .*\): set Group= in the service/],
      [gid + 1, ['/other'], true, /^the group of the socket may .*\): chgrp GROUP \S*run; chmod/],
      // Whether it is the same group is not known.
      [gid, [directory], true, undefined],
    ] as const) {
      const isUnknown = (): boolean => hidden;
      const [found, ...more] = shutOut(directory, which, { ofUnit, isUnknown }).filter((why) =>
        why.includes('/run '),
      );
      assert.deepEqual(more, []);
      if (expected === undefined) assert.equal(found, undefined);
      else assert.match(found ?? '', expected);
    }
  });
});
