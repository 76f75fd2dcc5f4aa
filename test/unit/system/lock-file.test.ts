import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { withLockFile } from '../../../src/system/lock-file.ts';
import { temporaryFolder } from '../temporary-folder.ts';

describe('a lock file', () => {
  it('is there, with our process id and for us alone, while the work is done, and gone after it', async (t) => {
    const path = join(temporaryFolder(t), 'lock');
    const outcome = await withLockFile(path, async () => {
      assert.equal(readFileSync(path, 'utf8'), `${process.pid}\n`);
      assert.equal(statSync(path).mode & 0o777, 0o600);
      return 'done';
    });
    assert.equal(outcome, 'done');
    assert.equal(existsSync(path), false);
  });

  it('lets nobody else work, and says who does', async (t) => {
    const path = join(temporaryFolder(t), 'lock');
    const working = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const first = withLockFile(path, async () => {
      begun.resolve();
      await working.promise;
      return 'first';
    });
    await begun.promise;
    const second = await withLockFile(path, async () => assert.fail('two work at once'));
    assert.ok(typeof second === 'object');
    assert.match(
      second.locked,
      new RegExp(`process ${process.pid} is at work there: try again .* remove ${path}`),
    );
    working.resolve();
    assert.equal(await first, 'first');
    assert.equal(await withLockFile(path, async () => 'third'), 'third');
  });

  it('lets exactly one of many begin at a time', async (t) => {
    const path = join(temporaryFolder(t), 'lock');
    let inside = 0;
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, () =>
        withLockFile(path, async () => {
          inside += 1;
          assert.equal(inside, 1);
          await new Promise((resolve) => setImmediate(resolve));
          inside -= 1;
          return 'done' as const;
        }),
      ),
    );
    assert.ok(outcomes.includes('done'));
    assert.equal(existsSync(path), false);
  });

  it('is gone when the work failed, with the error of the work', async (t) => {
    const path = join(temporaryFolder(t), 'lock');
    const failing = withLockFile(path, () => Promise.reject(new Error('of the work')));
    await assert.rejects(failing, /of the work/);
    assert.equal(existsSync(path), false);
  });

  for (const [what, content] of [
    ['of a process that has ended', '999999\n'],
    ['of a process that was killed before it wrote its id', ''],
  ] as const) {
    it(`${what} is not taken over: a person is told which file to remove`, async (t) => {
      const path = join(temporaryFolder(t), 'lock');
      writeFileSync(path, content);
      const refused = await withLockFile(path, async () => assert.fail('it was taken over'));
      assert.ok(typeof refused === 'object');
      assert.ok(refused.locked.includes(`remove ${path} if it ended without doing so`));
      assert.doesNotMatch(refused.locked, / {2}/);
      assert.equal(readFileSync(path, 'utf8'), content);
    });
  }

  it('where there is no directory fails with the reason', async (t) => {
    const path = join(temporaryFolder(t), 'no', 'lock');
    await assert.rejects(
      withLockFile(path, async () => assert.fail('it was not locked')),
      { code: 'ENOENT' },
    );
  });
});
