/** Where no systemd runs, as in an image that is being built: installing, upgrading, removing and purging. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CONFIG, SERVICE, SOCKET_UNIT } from './installation.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import { needTools, realPackages, said } from './packages-built.ts';
import { debianTree, type Ran, type Tree } from './packages-tree.ts';
import { baseTree } from './trees.ts';

const [OLD, NEWER] = ['3.1.0-rc.1', '3.1.0'];
const PACKAGES = ['passwd', 'rpm', 'systemd'];
const KEYRING = '{"kind":"trousseau-keyring","version":1}\n';
/** rpm wants these from an RPM distribution; the tree is Debian's. */
const RPM_OPTIONS = ['--nodeps'];

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needTools();
  baseTree({ suite: 'trixie', packages: PACKAGES });
  for (const version of [OLD, NEWER]) realPackages(version);
}

function declare(): void {
  const [old, newer] = [realPackages(OLD), realPackages(NEWER)];
  const tree = (t: TestContext, name: string): Tree => debianTree(t, name, PACKAGES);
  const install = (debian: Tree, file: string): string =>
    good(debian.run('dpkg', '--install', debian.bring(file)));

  test('dpkg installs it with its user, and nothing is switched on', (t) => {
    const debian = tree(t, 'install');
    install(debian, old.file('deb'));
    assert.equal(owned(debian, CONFIG), '640 root:trousseau');
    assert.equal(owned(debian, '/etc/trousseau'), '750 root:trousseau');
    assert.match(debian.run('getent', 'group', 'trousseau-kms').output, /^trousseau-kms:/);
    assert.match(good(debian.run('trousseau', 'version')), /^trousseau \d/);
    assert.equal(installed(debian), '3.1.0~rc.1-1');
    for (const unit of [SERVICE, SOCKET_UNIT])
      assert.equal(debian.run('systemctl', 'is-enabled', unit).output.trim(), 'disabled');
    assert.equal(good(debian.run('dpkg', '--verify', 'trousseau')), '');
  });

  test('an upgrade keeps the configuration, its owner and mode, and what is enabled', (t) => {
    const debian = tree(t, 'upgrade');
    install(debian, old.file('deb'));
    appendFileSync(debian.path(CONFIG), '# mine\n');
    good(debian.run('chown', 'root:daemon', CONFIG));
    good(debian.run('systemctl', 'enable', SERVICE));
    install(debian, newer.file('deb'));
    assert.match(readFileSync(debian.path(CONFIG), 'utf8'), /# mine\n$/);
    assert.equal(owned(debian, CONFIG), '640 root:daemon');
    assert.equal(installed(debian), '3.1.0-1');
    for (const unit of [SERVICE, SOCKET_UNIT])
      assert.equal(debian.run('systemctl', 'is-enabled', unit).output.trim(), 'enabled');
  });

  test('an upgrade that brings another configuration leaves the changed one, and the new one beside it', (t) => {
    const debian = tree(t, 'conffile');
    install(debian, old.file('deb'));
    appendFileSync(debian.path(CONFIG), '# mine\n');
    const other = debian.bring(repackedWithConfig(t, newer.file('deb'), '# theirs\n'));
    good(debian.run('dpkg', '--force-confold', '--install', other));
    assert.match(readFileSync(debian.path(CONFIG), 'utf8'), /# mine\n$/);
    assert.match(readFileSync(debian.path(`${CONFIG}.dpkg-dist`), 'utf8'), /# theirs\n$/);
    good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.ok(!existsSync(debian.path('/etc/trousseau')));
  });

  test('a removal keeps the configuration', (t) => {
    const debian = tree(t, 'remove');
    install(debian, old.file('deb'));
    good(debian.run('dpkg', '--remove', 'trousseau'));
    assert.ok(!existsSync(debian.path('/usr/bin/trousseau')));
    assert.ok(existsSync(debian.path(CONFIG)));
  });

  test('a purge takes secrets and the links that enabled it along', (t) => {
    const debian = tree(t, 'purge');
    const before = new Set(files(debian));
    install(debian, old.file('deb'));
    writeFileSync(debian.path('/etc/trousseau/secret-id'), 'secret');
    good(debian.run('systemctl', 'enable', SERVICE));
    good(debian.run('dpkg', '--purge', 'trousseau'));
    rmSync(debian.path(`/root/${old.file('deb').split('/').at(-1)}`));
    assert.deepEqual(
      files(debian).filter((file) => !before.has(file)),
      [],
    );
  });

  test('a purge keeps a keyring of any name, with what seals it and its owner, and says so', (t) => {
    const debian = tree(t, 'keyring');
    install(debian, old.file('deb'));
    good(debian.run('install', '-d', '-o', 'trousseau', '-m', '0700', '/var/lib/trousseau'));
    writeFileSync(debian.path('/var/lib/trousseau/ring.json'), KEYRING);
    writeFileSync(debian.path('/etc/trousseau/seal.key'), 'seal');
    const output = good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.match(output, /kept, because a cluster may need these keys/);
    assert.match(output, /\/var\/lib\/trousseau\/ring\.json/);
    assert.equal(readFileSync(debian.path('/var/lib/trousseau/ring.json'), 'utf8'), KEYRING);
    assert.ok(existsSync(debian.path('/etc/trousseau/seal.key')));
    assert.equal(debian.run('getent', 'passwd', 'trousseau').status, 0);
  });

  test('rpm installs, verifies and erases it', (t) => {
    const machine = tree(t, 'rpm');
    good(machine.run('rpm', '-i', ...RPM_OPTIONS, machine.bring(old.file('rpm'))));
    assert.equal(owned(machine, CONFIG), '640 root:trousseau');
    assert.equal(owned(machine, '/etc/trousseau'), '750 root:trousseau');
    assert.equal(good(machine.run('rpm', '-V', ...RPM_OPTIONS, 'trousseau')), '');
    const enabled = machine.run('systemctl', 'is-enabled', SOCKET_UNIT).output;
    assert.equal(enabled.trim(), 'disabled');
    good(machine.run('rpm', '-e', 'trousseau'));
    assert.ok(!existsSync(machine.path('/usr/bin/trousseau')));
    assert.ok(!existsSync(machine.path('/etc/trousseau')));
  });
}

function good({ status, output }: Ran): string {
  assert.equal(status, 0, output);
  return output;
}

function installed(tree: Tree): string | undefined {
  return good(tree.run('dpkg-query', '--show', 'trousseau'))
    .trim()
    .split('	')[1];
}

/** As `640 root:trousseau`, by the names of the tree. */
function owned(tree: Tree, path: string): string {
  return good(tree.run('stat', '--format=%a %U:%G', path)).trim();
}

/** Every path of the tree, without what dpkg and systemd keep for themselves. */
function files(tree: Tree): readonly string[] {
  const logs = '-path /var/log -o -path /var/lib/dpkg -o -path /var/cache -o -path /proc';
  const backups =
    '-name passwd- -o -name group- -o -name shadow- -o -name gshadow- -o -name .pwd.lock';
  const found = tree.run(
    'sh',
    '-c',
    `find / \\( ${logs} \\) -prune -o \\( ${backups} \\) -o -print`,
  );
  return good(found).trim().split('\n');
}

/** The same package with another configuration in it, as a later version may bring. */
function repackedWithConfig(t: TestContext, file: string, addition: string): string {
  const work = mkdtempSync(join(tmpdir(), 'trousseau-repacked-'));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  const folder = join(work, 'contents');
  said('dpkg-deb', ['--raw-extract', file, folder]);
  appendFileSync(join(folder, CONFIG), addition);
  const out = join(work, 'repacked.deb');
  said('dpkg-deb', ['--root-owner-group', '-Znone', '--build', folder, out]);
  return out;
}
