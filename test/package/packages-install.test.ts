/** Where no systemd runs, as in an image that is being built: installing, upgrading, removing and purging. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
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

  test('an upgrade that brings another configuration asks nothing, though nobody answers', (t) => {
    const debian = tree(t, 'conffile');
    install(debian, old.file('deb'));
    appendFileSync(debian.path(CONFIG), '# mine\n');
    const other = debian.bring(repackedWithConfig(t, newer.file('deb'), '# theirs\n'));
    good(debian.run('sh', '-c', 'dpkg --install "$0" </dev/null', other));
    assert.match(readFileSync(debian.path(CONFIG), 'utf8'), /# mine\n$/);
    good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.ok(!existsSync(debian.path('/etc/trousseau')));
  });

  test('from a version that had the configuration as a conffile, a changed one stays as it is', (t) => {
    const debian = tree(t, 'was-conffile');
    install(debian, withConffile(t, old.file('deb')));
    appendFileSync(debian.path(CONFIG), '# mine\n');
    good(debian.run('sh', '-c', 'dpkg --install "$0" </dev/null', debian.bring(newer.file('deb'))));
    assert.match(readFileSync(debian.path(CONFIG), 'utf8'), /# mine\n$/);
    assert.equal(owned(debian, CONFIG), '640 root:trousseau');
  });

  test('what was there before the package keeps its owner and mode, and a purge keeps it', (t) => {
    const debian = tree(t, 'before');
    good(debian.run('useradd', '--system', '--user-group', '--uid', '777', 'trousseau'));
    good(debian.run('install', '-d', '-m', '0755', '/etc/trousseau'));
    const mine = '/etc/systemd/system/trousseau.service.d/10-notify-main.conf';
    good(debian.run('install', '-D', '-m', '0644', '/etc/hostname', mine));
    writeFileSync(debian.path(CONFIG), '# mine\n');
    install(debian, old.file('deb'));
    assert.equal(owned(debian, '/etc/trousseau'), '755 root:trousseau');
    assert.equal(readFileSync(debian.path(CONFIG), 'utf8'), '# mine\n');
    assert.ok(lstatSync(debian.path(mine)).isFile());
    good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.ok(existsSync(debian.path(mine)));
    assert.match(good(debian.run('getent', 'passwd', 'trousseau')), /^trousseau:x:777:/);
  });

  test('where the number of its group was given to another one meanwhile, files are handed over', (t) => {
    const debian = tree(t, 'number');
    install(debian, old.file('deb'));
    good(debian.run('dpkg', '--remove', 'trousseau'));
    giveNumberAway(debian);
    install(debian, newer.file('deb'));
    assert.equal(owned(debian, CONFIG), '640 root:trousseau');
    assert.equal(owned(debian, '/etc/trousseau'), '750 root:trousseau');
  });

  test('a configuration that was deleted is not made again, with whatever dpkg is forced to', (t) => {
    const debian = tree(t, 'deleted');
    install(debian, old.file('deb'));
    rmSync(debian.path(CONFIG));
    good(debian.run('dpkg', '--force-confmiss', '--install', debian.bring(newer.file('deb'))));
    assert.ok(!existsSync(debian.path(CONFIG)));
  });

  test('an upgrade replaces the AppArmor profile, but not one that aa-enforce has edited, and asks nothing', (t) => {
    const debian = tree(t, 'profile');
    good(debian.run('mkdir', '-p', '/etc/apparmor.d'));
    install(debian, old.file('deb'));
    const profile = debian.path('/etc/apparmor.d/trousseau');
    assert.match(readFileSync(profile, 'utf8'), /flags=\(complain/);
    const other = repacked(t, newer.file('deb'), (folder) =>
      appendFileSync(join(folder, 'usr/lib/trousseau/apparmor-profile'), '# theirs\n'),
    );
    const silent = (file: string): string =>
      good(debian.run('sh', '-c', 'dpkg --install "$0" </dev/null', debian.bring(file)));
    silent(other);
    assert.match(readFileSync(profile, 'utf8'), /# theirs\n$/);
    appendFileSync(profile, '# mine\n');
    silent(newer.file('deb'));
    assert.match(readFileSync(profile, 'utf8'), /# mine\n$/);
    good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.ok(!existsSync(profile));
  });

  test('a removal keeps the configuration', (t) => {
    const debian = tree(t, 'remove');
    install(debian, old.file('deb'));
    good(debian.run('dpkg', '--remove', 'trousseau'));
    assert.ok(!existsSync(debian.path('/usr/bin/trousseau')));
    assert.ok(existsSync(debian.path(CONFIG)));
  });

  test('a purge leaves what is not its own, names it, and takes the links that enabled it along', (t) => {
    const debian = tree(t, 'purge');
    const before = new Set(files(debian));
    install(debian, old.file('deb'));
    good(debian.run('install', '-d', '-o', 'trousseau', '-m', '0700', '/var/lib/trousseau'));
    const others = [
      '/etc/trousseau/kek',
      '/etc/trousseau/secret-id',
      '/var/lib/trousseau/ring.json.gz',
      '/var/lib/trousseau/ring.b64',
    ];
    for (const file of others) writeFileSync(debian.path(file), `of somebody else: ${KEYRING}`);
    good(debian.run('systemctl', 'enable', SERVICE));
    const output = good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.match(output, /kept, since the package has not made it/);
    for (const file of others) assert.ok(output.includes(file), file);
    rmSync(debian.path(`/root/${old.file('deb').split('/').at(-1)}`));
    assert.deepEqual(
      files(debian).filter((file) => !before.has(file)),
      ['/etc/trousseau', '/var/lib/trousseau', ...others].sort(),
    );
    assert.equal(debian.run('getent', 'passwd', 'trousseau').status, 0);
  });

  test('a purge after an installation without the package deletes nothing that it uses', (t) => {
    const debian = tree(t, 'purge-later');
    install(debian, old.file('deb'));
    good(debian.run('dpkg', '--remove', 'trousseau'));
    const unit = '/usr/lib/systemd/system/trousseau.service';
    writeFileSync(debian.path(unit), '[Service]\nExecStart=/opt/trousseau/trousseau serve\n');
    good(debian.run('install', '-d', '/run/trousseau'));
    const used = [CONFIG, unit, '/run/trousseau/announced-key.json'];
    writeFileSync(debian.path('/run/trousseau/announced-key.json'), '{}');
    const output = good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.match(output, /nothing is deleted/);
    for (const file of used) assert.ok(existsSync(debian.path(file)), file);
  });

  for (const [kind, file] of [
    ['Debian package', old.file('deb')],
    ['RPM', old.file('rpm')],
  ] as const) {
    test(`a first installation of the ${kind} leaves units on that were on before`, (t) => {
      const debian = tree(t, `on-before-${kind.length}`);
      const folder = '/usr/lib/systemd/system';
      good(debian.run('install', '-d', folder));
      for (const unit of [SERVICE, SOCKET_UNIT])
        writeFileSync(
          debian.path(`${folder}/${unit}`),
          '[Install]\nWantedBy=multi-user.target\n[Service]\nExecStart=/bin/true\n',
        );
      good(debian.run('systemctl', 'enable', SERVICE, SOCKET_UNIT));
      if (kind === 'RPM')
        good(debian.run('rpm', '-i', '--replacefiles', ...RPM_OPTIONS, debian.bring(file)));
      else install(debian, file);
      for (const unit of [SERVICE, SOCKET_UNIT])
        assert.equal(debian.run('systemctl', 'is-enabled', unit).output.trim(), 'enabled', unit);
    });
  }

  test('a purge finds what lies behind a link, and leaves the link', (t) => {
    const debian = tree(t, 'link');
    install(debian, old.file('deb'));
    good(debian.run('install', '-d', '/srv/keys'));
    rmSync(debian.path('/var/lib/trousseau'), { recursive: true, force: true });
    symlinkSync('/srv/keys', debian.path('/var/lib/trousseau'));
    writeFileSync(debian.path('/srv/keys/keyring.json'), KEYRING);
    const output = good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.match(output, /\/var\/lib\/trousseau\/keyring\.json/);
    assert.equal(readFileSync(debian.path('/srv/keys/keyring.json'), 'utf8'), KEYRING);
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

  test('an upgrade of the RPM hands files over where the number of its group is that of another one', (t) => {
    const machine = tree(t, 'rpm-number');
    good(machine.run('rpm', '-i', ...RPM_OPTIONS, machine.bring(old.file('rpm'))));
    appendFileSync(machine.path(CONFIG), '# mine\n');
    giveNumberAway(machine);
    good(machine.run('rpm', '-U', ...RPM_OPTIONS, machine.bring(newer.file('rpm'))));
    assert.match(readFileSync(machine.path(CONFIG), 'utf8'), /# mine\n$/);
    assert.equal(owned(machine, CONFIG), '640 root:trousseau');
    assert.equal(owned(machine, '/etc/trousseau'), '750 root:trousseau');
    assert.ok(!existsSync(machine.path('/run/trousseau-new-group')));
  });

  test('an upgrade of the RPM leaves the owner of the configuration where its group is there', (t) => {
    const machine = tree(t, 'rpm-owner');
    good(machine.run('rpm', '-i', ...RPM_OPTIONS, machine.bring(old.file('rpm'))));
    appendFileSync(machine.path(CONFIG), '# mine\n');
    good(machine.run('chown', 'root:daemon', CONFIG));
    good(machine.run('rpm', '-U', ...RPM_OPTIONS, machine.bring(newer.file('rpm'))));
    assert.equal(owned(machine, CONFIG), '640 root:daemon');
  });
}

/** Deletes the user and its group, and makes another group with the same number. */
function giveNumberAway(tree: Tree): void {
  const gid = good(tree.run('stat', '--format=%g', '/etc/trousseau')).trim();
  good(tree.run('userdel', 'trousseau'));
  tree.run('groupdel', 'trousseau'); // userdel may have taken it along
  good(tree.run('groupadd', '--gid', gid, 'foreign'));
  assert.equal(owned(tree, CONFIG), '640 root:foreign');
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
  return good(found).trim().split('\n').sort();
}

/** The same package with another configuration in it, as a later version may bring. */
function repackedWithConfig(t: TestContext, file: string, addition: string): string {
  return repacked(t, file, (folder) => {
    // Also as a file of the package itself, which dpkg would ask about.
    const places = ['usr/lib/trousseau/config.yaml', CONFIG].map((path) => join(folder, path));
    const found = places.filter((path) => existsSync(path));
    assert.ok(found.length > 0);
    for (const path of found) appendFileSync(path, addition);
  });
}

/** As versions before were: the configuration is a file of the package that dpkg asks about. */
function withConffile(t: TestContext, file: string): string {
  return repacked(t, file, (folder) => {
    mkdirSync(join(folder, 'etc/trousseau'), { mode: 0o750 });
    copyFileSync(join(folder, 'usr/lib/trousseau/config.yaml'), join(folder, CONFIG));
    chmodSync(join(folder, CONFIG), 0o640);
    appendFileSync(join(folder, 'DEBIAN/conffiles'), `${CONFIG}\n`);
  });
}

function repacked(t: TestContext, file: string, change: (folder: string) => void): string {
  const work = mkdtempSync(join(tmpdir(), 'trousseau-repacked-'));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  const folder = join(work, 'contents');
  said('dpkg-deb', ['--raw-extract', file, folder]);
  change(folder);
  const out = join(work, 'repacked.deb');
  said('dpkg-deb', ['--root-owner-group', '-Znone', '--build', folder, out]);
  return out;
}
