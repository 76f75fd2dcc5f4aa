/** What an administrator sees: installing, upgrading, removing and purging, in trees of Debian. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { BUILD_TOOLS, buildPackages, type Packages, said, toolsThere } from './packages-built.ts';
import { debianTree, type Ran, TREE_TOOLS, type Tree } from './packages-tree.ts';

const CONFIG = '/etc/trousseau/config.yaml';
const KEYRING = '{"kind":"trousseau-keyring","version":1}\n';
/** rpm wants these from an RPM distribution, which cannot be had here; the tree is Debian's. */
const RPM_OPTIONS = ['--nodeps'];

/**
 * In a network of its own, so that the kernel's table of unix sockets holds this one connection, and
 * with a /run of its own, so that the path is the real one.
 */
const CONNECTED = `
const net = require('node:net');
const [root] = process.argv.slice(2);
const server = net.createServer().listen('/run/trousseau/kms.sock', () => {
  server.once('connection', () => {
    const { spawnSync } = require('node:child_process');
    const run = spawnSync('chroot', [root, 'dpkg', '--remove', 'trousseau'], { encoding: 'utf8' });
    process.stdout.write(run.stdout + run.stderr);
    process.exit(run.status);
  });
  net.connect('/run/trousseau/kms.sock');
});`;

if (toolsThere('installing packages', [...BUILD_TOOLS, ...TREE_TOOLS])) {
  let work: string;
  let old: Packages;
  let newer: Packages;

  before(() => {
    work = mkdtempSync(join(tmpdir(), 'trousseau-test-'));
    old = buildPackages(work, '3.1.0-rc.1');
    newer = buildPackages(work, '3.1.0');
  });
  after(() => rmSync(work, { recursive: true, force: true }));

  const tree = (t: TestContext, name: string): Tree =>
    debianTree(t, name, ['passwd', 'rpm', 'systemd']);

  test('dpkg installs it with its user, and nothing is switched on', (t) => {
    const debian = tree(t, 'install');
    good(debian.run('dpkg', '--install', debian.bring(old.file('deb'))));
    assert.equal(owned(debian, CONFIG), '640 root:trousseau');
    assert.equal(owned(debian, '/etc/trousseau'), '750 root:trousseau');
    assert.match(debian.run('getent', 'group', 'trousseau-kms').output, /^trousseau-kms:/);
    assert.match(debian.run('trousseau', 'version').output, /3\.1\.0-rc\.1/);
    for (const unit of ['trousseau.service', 'trousseau.socket']) {
      assert.equal(debian.run('systemctl', 'is-enabled', unit).output.trim(), 'disabled');
    }
    assert.equal(good(debian.run('dpkg', '--verify', 'trousseau')), '');
  });

  test('an upgrade keeps the configuration, its owner and mode, and what is enabled', (t) => {
    const debian = tree(t, 'upgrade');
    good(debian.run('dpkg', '--install', debian.bring(old.file('deb'))));
    appendFileSync(debian.path(CONFIG), '# mine\n');
    good(debian.run('chown', 'root:daemon', CONFIG));
    good(debian.run('systemctl', 'enable', 'trousseau.service'));
    good(debian.run('dpkg', '--install', debian.bring(newer.file('deb'))));
    assert.match(readFileSync(debian.path(CONFIG), 'utf8'), /# mine\n$/);
    assert.equal(owned(debian, CONFIG), '640 root:daemon');
    assert.match(debian.run('trousseau', 'version').output, /3\.1\.0$/m);
    for (const unit of ['trousseau.service', 'trousseau.socket']) {
      assert.equal(debian.run('systemctl', 'is-enabled', unit).output.trim(), 'enabled');
    }
  });

  test('an upgrade that brings another configuration leaves the changed one, and the new one beside it', (t) => {
    const debian = tree(t, 'conffile');
    good(debian.run('dpkg', '--install', debian.bring(old.file('deb'))));
    appendFileSync(debian.path(CONFIG), '# mine\n');
    const other = repackedWithConfig(work, newer.file('deb'), '# theirs\n');
    good(debian.run('dpkg', '--force-confold', '--install', debian.bring(other)));
    assert.match(readFileSync(debian.path(CONFIG), 'utf8'), /# mine\n$/);
    assert.ok(existsSync(debian.path(`${CONFIG}.dpkg-dist`)));
    good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.ok(!existsSync(debian.path('/etc/trousseau')));
  });

  test('a purge leaves nothing', (t) => {
    const debian = tree(t, 'purge');
    const before = files(debian);
    good(debian.run('dpkg', '--install', debian.bring(old.file('deb'))));
    writeFileSync(debian.path('/etc/trousseau/secret-id'), 'secret');
    good(debian.run('systemctl', 'enable', 'trousseau.service'));
    good(debian.run('dpkg', '--purge', 'trousseau'));
    good(debian.run('rm', `/root/${old.file('deb').split('/').at(-1)}`));
    assert.deepEqual(
      files(debian).filter((file) => !before.includes(file)),
      [],
    );
    for (const [database, name] of [
      ['passwd', 'trousseau'],
      ['group', 'trousseau'],
      ['group', 'trousseau-kms'],
    ] as const) {
      assert.equal(debian.run('getent', database, name).status, 2, `${database} ${name}`);
    }
  });

  test('a purge keeps a keyring, without which the cluster is lost, and says so', (t) => {
    const debian = tree(t, 'keyring');
    good(debian.run('dpkg', '--install', debian.bring(old.file('deb'))));
    good(debian.run('install', '-d', '-o', 'trousseau', '-m', '0700', '/var/lib/trousseau'));
    writeFileSync(debian.path('/var/lib/trousseau/ring.json'), KEYRING);
    writeFileSync(debian.path('/etc/trousseau/seal.key'), 'seal');
    const said = good(debian.run('dpkg', '--purge', 'trousseau'));
    assert.match(said, /kept, because a cluster may need these keys/);
    assert.match(said, /\/var\/lib\/trousseau\/ring\.json/);
    assert.equal(readFileSync(debian.path('/var/lib/trousseau/ring.json'), 'utf8'), KEYRING);
    assert.ok(existsSync(debian.path('/etc/trousseau/seal.key')));
    assert.equal(debian.run('getent', 'passwd', 'trousseau').status, 0);
  });

  test('a removal while the socket is in use warns', (t) => {
    const debian = tree(t, 'open');
    good(debian.run('dpkg', '--install', debian.bring(old.file('deb'))));
    const script = join(work, 'connected.cjs');
    writeFileSync(script, CONNECTED);
    const enter =
      'mount -t tmpfs tmpfs /run && mkdir /run/trousseau && mount -t proc proc "$0/proc" && exec "$@"';
    const node = [process.execPath, script, debian.root];
    const removed = said('unshare', [
      '--mount',
      '--net',
      '/bin/sh',
      '-c',
      enter,
      debian.root,
      ...node,
    ]);
    assert.match(removed, /WARNING: 1 connection\(s\) to \/run\/trousseau\/kms\.sock are open/);
    assert.ok(!existsSync(debian.path('/usr/bin/trousseau')));
    assert.ok(existsSync(debian.path(CONFIG)), 'a removal keeps the configuration');
  });

  test('rpm installs, verifies, upgrades and erases it', (t) => {
    const machine = tree(t, 'rpm');
    good(machine.run('rpm', '-i', ...RPM_OPTIONS, machine.bring(old.file('rpm'))));
    assert.equal(owned(machine, CONFIG), '640 root:trousseau');
    assert.equal(owned(machine, '/etc/trousseau'), '750 root:trousseau');
    assert.equal(good(machine.run('rpm', '-V', ...RPM_OPTIONS, 'trousseau')), '');
    assert.equal(
      machine.run('systemctl', 'is-enabled', 'trousseau.socket').output.trim(),
      'disabled',
    );
    appendFileSync(machine.path(CONFIG), '# mine\n');
    good(machine.run('rpm', '-U', ...RPM_OPTIONS, machine.bring(newer.file('rpm'))));
    assert.match(readFileSync(machine.path(CONFIG), 'utf8'), /# mine\n$/);
    assert.match(machine.run('trousseau', 'version').output, /3\.1\.0$/m);
    assert.match(
      machine.run('rpm', '-V', ...RPM_OPTIONS, 'trousseau').output,
      /^S\.5.* c \/etc\/trousseau\/config\.yaml\n$/,
    );
    good(machine.run('rpm', '-e', 'trousseau'));
    assert.ok(!existsSync(machine.path('/usr/bin/trousseau')));
    assert.match(readFileSync(machine.path(`${CONFIG}.rpmsave`), 'utf8'), /# mine\n$/);
  });

  test('rpm sees a file that was changed', (t) => {
    const machine = tree(t, 'rpm-verify');
    good(machine.run('rpm', '-i', ...RPM_OPTIONS, machine.bring(old.file('rpm'))));
    appendFileSync(machine.path('/usr/bin/trousseau'), '\n');
    const { status, output } = machine.run('rpm', '-V', ...RPM_OPTIONS, 'trousseau');
    assert.notEqual(status, 0);
    assert.match(output, /^S\.5.*\/usr\/bin\/trousseau$/m);
  });
}

function good({ status, output }: Ran): string {
  assert.equal(status, 0, output);
  return output;
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
function repackedWithConfig(work: string, file: string, addition: string): string {
  const folder = join(work, 'repacked');
  said('dpkg-deb', ['--raw-extract', file, folder]);
  appendFileSync(join(folder, CONFIG), addition);
  const out = join(work, 'repacked.deb');
  said('dpkg-deb', ['--root-owner-group', '--build', folder, out]);
  assert.ok(statSync(out).size > 0);
  return out;
}
