/**
 * `test-machine.ts [field]`, before the package tests or those of test/field: has this machine the tools that they call? As root on a Debian they are
 * installed, in one go; elsewhere the run ends here and says what to do, since a test that is left out would
 * pass. Go, which the servers of the tests are built with, is not among them: Debian's is too old.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { installCommand, missingFor, type Purpose, pathOf } from './packages/tools.ts';

const PACKAGE_TESTS: readonly Purpose[] = ['binary', 'packages', 'release', 'tests'];
const ALL: readonly Purpose[] =
  process.argv[2] === 'field' ? [...PACKAGE_TESTS, 'field'] : PACKAGE_TESTS;

const isRoot = process.getuid?.() === 0;
const { tools, packages } = missingFor(...ALL);
const canInstall = pathOf('apt-get') !== undefined && existsSync('/etc/debian_version');

if (!isRoot) {
  fail(
    'the package tests make whole machines, which only root may. As root: make test. Without: make test-unit',
  );
} else if (tools.length > 0) {
  process.stdout.write(`missing for the package tests: ${tools.join(', ')}\n`);
  if (!canInstall) fail(`install what Debian has in: ${packages.join(' ')}`);
  else install();
}

function install(): void {
  const command = installCommand(packages);
  process.stdout.write(`${command}\n`);
  const { status } = spawnSync('/bin/sh', ['-c', command], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  const left = missingFor(...ALL).tools;
  if (status !== 0 || left.length > 0)
    fail(`that did not do: ${left.join(', ') || 'apt-get failed'}`);
}

function fail(why: string): void {
  process.stderr.write(`${why}\n`);
  process.exitCode = 1;
}
