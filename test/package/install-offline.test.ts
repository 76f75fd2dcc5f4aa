/**
 * docs/install-offline.md, run as it is written: from the stick to an installed package, by apt, dnf and
 * zypper. No tree of an RPM distribution can be had here: Debian's has their tools, and one package that
 * provides what rpm finds in its libraries.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { COMMANDS, SPEC, SPEC_FILE } from './base-rpm.ts';
import { NEWER_VERSION, OLD_VERSION } from './booted/under-test.ts';
import { commandsOf } from './offline-document.ts';
import { insertStick, must, nodeWithStick, prepareNode, sh } from './offline-node.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import type { Tree } from './packages-tree.ts';

/** The order of the blocks in step 3. */
const [APT, DNF, ZYPPER] = [0, 1, 2] as const;

if (await inOwnNamespaces(import.meta.filename, prepareNode)) declare();

/** The commands of step 3 for one of the tools. */
function installBy(tool: number): string {
  return commandsOf('## 3. Install')[tool] ?? '';
}

function provideLibraries(machine: Tree): void {
  writeFileSync(machine.path(SPEC_FILE), SPEC);
  must(machine, COMMANDS);
}

function assertInstalled(machine: Tree): void {
  assert.match(machine.run('trousseau', 'version').output, /^trousseau \S+ \(commit/);
  for (const unit of ['trousseau.service', 'trousseau.socket'])
    assert.equal(machine.run('systemctl', 'is-enabled', unit).output.trim(), 'disabled');
}

/** As somebody would who wants another program on the nodes. */
function changePackage(machine: Tree): void {
  const change = `for file in /srv/trousseau/dnf/Packages/*.rpm; do
  printf x | dd of="$file" bs=1 seek=20000000 conv=notrunc status=none
done`;
  assert.equal(machine.run('sh', '-ec', change).status, 0);
}

function versionOf(machine: Tree): string {
  return machine.run('rpm', '-q', '--queryformat', '%{VERSION}', 'trousseau').output;
}

function declare(): void {
  test('apt installs it from the stick by the commands of the document', (t) => {
    const machine = nodeWithStick(t, 'offline-apt');
    const { status, output } = sh(machine, installBy(APT));
    assert.equal(status, 0, output);
    // The tree has no terminals, which apt would log to.
    assert.doesNotMatch(output, /^(?:W|E|Err:\d+):? (?!Can not write log)/m);
    assertInstalled(machine);
  });

  test('dnf installs it from the stick by the commands of the document, with all that it asks for', (t) => {
    const machine = nodeWithStick(t, 'offline-dnf');
    const commands = installBy(DNF);
    const refused = sh(machine, commands);
    assert.notEqual(refused.status, 0);
    assert.match(refused.output, /nothing provides .*libc\.so\.6/);
    provideLibraries(machine);
    const { status, output } = sh(machine, commands);
    assert.equal(status, 0, output);
    assertInstalled(machine);
    assert.equal(machine.run('rpm', '-V', 'trousseau').output, '');
  });

  test('dnf refuses a package that was changed on its way', (t) => {
    const machine = nodeWithStick(t, 'changed-dnf');
    provideLibraries(machine);
    changePackage(machine);
    const { status, output } = sh(machine, installBy(DNF));
    assert.notEqual(status, 0, output);
    assert.match(output, /checksum|digest/i);
    assert.equal(machine.run('rpm', '-q', 'trousseau').status, 1);
  });

  test('zypper installs, upgrades and removes it by the commands of the document', (t) => {
    const machine = nodeWithStick(t, 'offline-zypper', OLD_VERSION);
    const refused = sh(machine, installBy(ZYPPER));
    assert.notEqual(refused.status, 0);
    assert.match(refused.output, /nothing provides .*libc\.so\.6/);
    assert.match(refused.output, /Key Name: +Throw-away/);
    provideLibraries(machine);
    must(machine, installBy(ZYPPER));
    assertInstalled(machine);
    assert.equal(versionOf(machine), OLD_VERSION.replace('-', '~'));
    assert.equal(machine.run('rpm', '-V', 'trousseau').output, '');
    const [makeRoom = '', , , byZypper = ''] = commandsOf('## Upgrading');
    must(machine, makeRoom);
    insertStick(machine, NEWER_VERSION);
    must(machine, byZypper);
    assertInstalled(machine);
    assert.equal(versionOf(machine), NEWER_VERSION);
    assert.equal(machine.run('rpm', '-V', 'trousseau').output, '');
    const [, , removeByZypper = ''] = commandsOf('## Removing it');
    must(machine, removeByZypper);
    assert.equal(machine.run('rpm', '-q', 'trousseau').status, 1);
  });

  test('zypper refuses a package that was changed on its way', (t) => {
    const machine = nodeWithStick(t, 'changed-package-zypper');
    provideLibraries(machine);
    changePackage(machine);
    const { status, output } = sh(machine, installBy(ZYPPER));
    assert.notEqual(status, 0, output);
    assert.match(output, /checksum|digest/i);
    assert.equal(machine.run('rpm', '-q', 'trousseau').status, 1);
  });

  test('zypper refuses a repository whose index was changed', (t) => {
    const machine = nodeWithStick(t, 'changed-zypper');
    const index = machine.path('/srv/trousseau/dnf/repodata/repomd.xml');
    writeFileSync(index, `${readFileSync(index, 'utf8')}<!-- changed -->\n`);
    const { status, output } = sh(machine, installBy(ZYPPER));
    assert.notEqual(status, 0, output);
    assert.match(output, /[Ss]ignature verification failed/);
  });
}
