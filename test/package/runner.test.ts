/** scripts/test.ts: a run in which something was left out fails. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { environment } from '../servers/process.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { ROOT } from './executable.ts';

const PASSES = `import { test } from 'node:test'; test('passes', () => {});`;

/** Runs a suite of the files, by their texts. */
function runSuite(dir: string, texts: readonly string[]): { status: number | null; said: string } {
  mkdirSync(join(dir, 'test/suite'), { recursive: true });
  for (const [i, text] of texts.entries())
    writeFileSync(join(dir, `test/suite/${i}.test.ts`), text);
  const ran = spawnSync(process.execPath, [join(ROOT, 'scripts/test.ts'), 'suite'], {
    cwd: dir,
    encoding: 'utf8',
    env: environment(),
  });
  return { status: ran.status, said: ran.stdout };
}

test('a run of tests that pass passes, and counts each of them once', (t) => {
  const { status, said } = runSuite(temporaryFolder(t), [PASSES, PASSES]);
  assert.equal(status, 0, said);
  assert.match(said, /^2 passed, 0 failed, 0 skipped$/m);
});

test('each file is named as it ends, and again at the end with its time', (t) => {
  const { said } = runSuite(temporaryFolder(t), [PASSES, PASSES]);
  const ended = said.match(
    /^\[\d of 2 files, [\d.]+ s\] test\/suite\/\d\.test\.ts took [\d.]+ s$/gm,
  );
  assert.equal(ended?.length, 2, said);
  assert.match(
    said,
    /^2 files in [\d.]+ s, the slowest:\n( +[\d.]+ s {2}test\/suite\/\d\.test\.ts\n){2}$/m,
  );
});

for (const [what, text, why] of [
  ['a file without a test', `console.log('left out');`, /1\.test\.ts has no test/],
  ['a skipped test', PASSES.replace('test(', 'test.skip('), /a skipped test counts as a failure/],
  ['a test that is still to be written', PASSES.replace('test(', 'test.todo('), /1 skipped/],
  ['a file that cannot be read', 'import "node:nothing";', /1 failed/],
] as const) {
  test(`${what} fails the run`, (t) => {
    const { status, said } = runSuite(temporaryFolder(t), [PASSES, text]);
    assert.equal(status, 1, said);
    assert.match(said, why);
  });
}
