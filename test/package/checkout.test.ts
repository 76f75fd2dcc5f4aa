/** A checkout of somebody else's, as root has it in CI: git refuses it unless it is told that it is meant. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { environment } from '../servers/process.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { ROOT } from './executable.ts';
import { ask, needTools } from './packages-built.ts';

needTools();

/** Anybody but whoever runs the tests. */
const SOMEBODY = '12345:12345';
const REFUSED = /detected dubious ownership in repository/;
const FILES = ['Makefile', 'package.json'];
/** What the caller's own git has been told does not count. */
const ENV = environment({ GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' });
const AUTHOR = ['-c', 'user.name=x', '-c', 'user.email=x@trousseau.invalid'];

type Checkout = { readonly folder: string; readonly commit: string };

/** With one commit in it. */
function checkoutOfSomebody(t: TestContext): Checkout {
  const folder = temporaryFolder(t);
  const git = (...args: readonly string[]): string =>
    must('git', ['-C', folder, ...AUTHOR, ...args]).trim();
  git('init', '--quiet');
  for (const file of FILES) copyFileSync(join(ROOT, file), join(folder, file));
  git('add', '.');
  git('commit', '--quiet', '--message=all');
  const commit = git('rev-parse', 'HEAD');
  must('chown', ['--recursive', SOMEBODY, folder]);
  return { folder, commit };
}

/** What `editionOf` says there, in a process of its own. */
function editionIn(folder: string, env: NodeJS.ProcessEnv): Readonly<Record<string, unknown>> {
  const module = join(ROOT, 'scripts/packages/edition.ts');
  const script = `import { editionOf } from ${JSON.stringify(module)};
    process.chdir(${JSON.stringify(folder)});
    process.stdout.write(JSON.stringify(editionOf(process.env)));`;
  return JSON.parse(must(process.execPath, ['--input-type=module', '--eval', script], env));
}

function must(command: string, args: readonly string[], env = ENV): string {
  const { status, out, err } = ask(command, args, env);
  assert.equal(status, 0, out + err);
  return out;
}

test('make knows the commit of a checkout that is of another user, and so do the programs that it runs', (t) => {
  const { folder, commit } = checkoutOfSomebody(t);
  // A setting that was there stays.
  const env = {
    ...ENV,
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: 'core.abbrev',
    GIT_CONFIG_VALUE_0: '40',
  };
  must('make', ['-C', folder, 'build/commit'], env);
  assert.equal(readFileSync(join(folder, 'build/commit'), 'utf8').trim(), commit.slice(0, 12));
  rmSync(join(folder, 'build'), { recursive: true });
  const recipe = 'shown: ; @env | grep ^GIT_CONFIG_';
  const shown = must(
    'make',
    ['-C', folder, '--no-print-directory', '--eval', recipe, 'shown'],
    env,
  );
  const handedOn = Object.fromEntries(
    shown
      .trim()
      .split('\n')
      .map((line) => line.split('=')),
  );
  assert.equal(handedOn['GIT_CONFIG_VALUE_0'], '40');
  const { commit: known, dirty, gitProblem } = editionIn(folder, { ...ENV, ...handedOn });
  assert.deepEqual(
    { known, dirty, gitProblem },
    { known: commit, dirty: false, gitProblem: undefined },
  );
});

test('without make the commit is unknown there, and what git says is the reason that is given', (t) => {
  const { folder } = checkoutOfSomebody(t);
  const { commit, dirty, gitProblem } = editionIn(folder, ENV);
  assert.deepEqual({ commit, dirty }, { commit: 'unknown', dirty: true });
  assert.match(String(gitProblem), REFUSED);
});

test('outside of any checkout the reason is that there is none', (t) => {
  const folder = temporaryFolder(t);
  copyFileSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  assert.match(String(editionIn(folder, ENV)['gitProblem']), /^not a git repository/);
});
