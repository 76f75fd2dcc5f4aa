/**
 * docs/install-offline.md, run as it is written: from the stick to an installed package, by apt, dnf and
 * zypper. No tree of an RPM distribution can be had here: Debian's has their tools, and one package that
 * provides what rpm finds in its libraries.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ROOT } from './executable.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import { needTools, realRelease } from './packages-built.ts';
import { debianTree, type Tree } from './packages-tree.ts';
import { baseTree } from './trees.ts';

const VERSION = '3.1.0';
const TOOLS = ['dnf', 'gnupg', 'passwd', 'rpm', 'systemd', 'zypper'];
/** The order of the blocks in step 3. */
const [APT, DNF, ZYPPER] = [0, 1, 2] as const;

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

/** While there is a network. */
function prepare(): void {
  needTools();
  realRelease(VERSION);
  baseTree({ suite: 'bookworm', packages: TOOLS });
}

/** The commands of a step, a string for each block of them. */
function commandsOf(heading: string): readonly string[] {
  const text = readFileSync(join(ROOT, 'docs/install-offline.md'), 'utf8');
  const [, section = ''] = text.split(`\n## ${heading}\n`);
  const [step = ''] = section.split(/^## /m);
  return [...step.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
}

/** A node without a network, with the stick in it; all of step 2 has been done. */
function nodeWithStick(t: TestContext, name: string): Tree {
  const machine = debianTree(t, name, TOOLS, { suite: 'bookworm' });
  rmSync(machine.path('/etc/apt/sources.list'), { force: true });
  rmSync(machine.path('/etc/apt/sources.list.d'), { recursive: true, force: true });
  for (const folder of [
    '/etc/apt/sources.list.d',
    '/etc/yum.repos.d',
    '/etc/zypp/repos.d',
    '/media/stick',
  ])
    mkdirSync(machine.path(folder), { recursive: true });
  cpSync(realRelease(VERSION).folder, machine.path('/media/stick/release'), { recursive: true });
  const [check = ''] = commandsOf('2. Check it, on the node');
  const { status, output } = sh(machine, check);
  assert.equal(status, 0, output);
  assert.match(output, /Good signature/);
  return machine;
}

function sh(machine: Tree, commands: string): ReturnType<Tree['run']> {
  // In the folder where step 2 has left whoever types, and answering yes to what is asked.
  const script = `[ ! -d /srv/trousseau ] || cd /srv/trousseau; yes 2>/dev/null | sh -ec "$0"`;
  return machine.run('sh', '-c', script, commands);
}

/** What an RPM distribution has installed: the libraries of this tree, by what rpm finds in them. */
function provideLibraries(machine: Tree): void {
  const spec = `Name: base
Version: 1
Release: 1
Summary: What the libraries of this tree provide
License: none
BuildArch: noarch
AutoReqProv: no
Provides: systemd
Provides: /bin/sh
Provides: /usr/bin/getent
Provides: /usr/sbin/groupadd
Provides: /usr/sbin/useradd
%{lua: for line in io.lines("/root/provides") do print("Provides: " .. line .. "\\n") end}
%description
None.
%files
`;
  writeFileSync(machine.path('/root/base.spec'), spec);
  const libraries = 'libc.so.6 libdl.so.2 libm.so.6 libpthread.so.0 libstdc++.so.6 libgcc_s.so.1';
  const commands = `cd /lib/*-linux-gnu
/usr/lib/rpm/elfdeps --provides ${libraries} ld-linux-*.so.* | sort -u > /root/provides
rpmbuild -bb --quiet --define '_topdir /root/rpm' --define '_rpmdir /root' /root/base.spec
rpm -i --nodeps /root/noarch/base-1-1.noarch.rpm`;
  const { status, output } = machine.run('sh', '-ec', commands);
  assert.equal(status, 0, output);
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

/** Debian's zypper sees no database of RPMs: it resolves nothing, and so the last line is left out. */
function zypperRefresh(): string {
  const refresh = (commandsOf('3. Install')[ZYPPER] ?? '').replace(/^zypper .* install .*\n/m, '');
  assert.match(refresh, /^zypper .* refresh /m);
  return refresh;
}

function declare(): void {
  test('apt installs it from the stick by the commands of the document', (t) => {
    const machine = nodeWithStick(t, 'offline-apt');
    const { status, output } = sh(machine, commandsOf('3. Install')[APT] ?? '');
    assert.equal(status, 0, output);
    // The tree has no terminals, which apt would log to.
    assert.doesNotMatch(output, /^[WE]: (?!Can not write log)/m);
    assertInstalled(machine);
  });

  test('dnf installs it from the stick by the commands of the document, with all that it asks for', (t) => {
    const machine = nodeWithStick(t, 'offline-dnf');
    const commands = commandsOf('3. Install')[DNF] ?? '';
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
    const { status, output } = sh(machine, commandsOf('3. Install')[DNF] ?? '');
    assert.notEqual(status, 0, output);
    assert.match(output, /checksum|digest/i);
    assert.equal(machine.run('rpm', '-q', 'trousseau').status, 1);
  });

  test('zypper reads the repository by the commands of the document', (t) => {
    const { status, output } = sh(nodeWithStick(t, 'offline-zypper'), zypperRefresh());
    assert.equal(status, 0, output);
    assert.match(output, /Key Name: +Throw-away/);
  });

  test('zypper refuses a repository whose index was changed', (t) => {
    const machine = nodeWithStick(t, 'changed-zypper');
    const index = machine.path('/srv/trousseau/dnf/repodata/repomd.xml');
    writeFileSync(index, `${readFileSync(index, 'utf8')}<!-- changed -->\n`);
    const { status, output } = sh(machine, zypperRefresh());
    assert.notEqual(status, 0, output);
    assert.match(output, /[Ss]ignature verification failed/);
  });
}
