/** A node as docs/install-offline.md has it: without a network, and with the release on a stick. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { NEWER_VERSION, OLD_VERSION } from './booted/under-test.ts';
import { commandOf, typed } from './offline-document.ts';
import { needTools, realRelease } from './packages-built.ts';
import { debianTree, type Ran, type Tree } from './packages-tree.ts';
import { baseTree } from './trees.ts';

const STICK = '/media/stick';
const TOOLS = ['dnf', 'gnupg', 'passwd', 'rpm', 'systemd', 'zypper'];

/** Makes what it is made of, while there is a network. */
export function prepareNode(): void {
  needTools();
  for (const version of [OLD_VERSION, NEWER_VERSION]) realRelease(version);
  baseTree({ suite: 'bookworm', packages: TOOLS });
}

/** All of step 2 has been done with a release. */
export function nodeWithStick(t: TestContext, name: string, version = NEWER_VERSION): Tree {
  const machine = debianTree(t, name, TOOLS, { suite: 'bookworm' });
  rmSync(machine.path('/etc/apt/sources.list'), { force: true });
  rmSync(machine.path('/etc/apt/sources.list.d'), { recursive: true, force: true });
  for (const folder of ['/etc/apt/sources.list.d', '/etc/yum.repos.d', '/etc/zypp/repos.d', STICK])
    mkdirSync(machine.path(folder), { recursive: true });
  insertStick(machine, version);
  return machine;
}

/** Brings a release in the place of the one that was on the stick, and does step 2. */
export function insertStick(machine: Tree, version: string): void {
  const release = machine.path(`${STICK}/release`);
  rmSync(release, { recursive: true, force: true });
  cpSync(realRelease(version).folder, release, { recursive: true });
  const { status, output } = sh(machine, commandOf('## 2. Check it, on the node'));
  assert.equal(status, 0, output);
  assert.match(output, /Good signature/);
}

/** Types the commands on it, as an administrator whose new files nobody else may read. */
export function sh(machine: Tree, commands: string): Ran {
  return machine.run(...typed(`umask 077\n${commands}`));
}

/** Types them, and fails the test where one of them fails; answers what they print. */
export function must(machine: Tree, commands: string): string {
  const { status, output } = sh(machine, commands);
  assert.equal(status, 0, output);
  return output;
}
