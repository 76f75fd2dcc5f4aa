/** `make install` and `make uninstall`, in a Debian tree that sees this checkout. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { type TestContext, test } from 'node:test';
import { ROOT } from './executable.ts';
import { CONFIG, SERVICE } from './installation.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import { needTools, realPackages } from './packages-built.ts';
import { debianTree, type Ran, type Tree } from './packages-tree.ts';
import { baseTree } from './trees.ts';

const PACKAGES = ['passwd', 'rpm', 'systemd'];
const VERSION = '3.1.0';
const CHECKOUT = '/srv/checkout';
const SECRET = '/etc/trousseau/secret-id';
const PROFILE = '/etc/apparmor.d/trousseau';

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needTools();
  baseTree({ suite: 'trixie', packages: PACKAGES });
  realPackages(VERSION);
}

function tree(t: TestContext, name: string): Tree {
  const debian = debianTree(t, name, PACKAGES);
  mkdirSync(debian.path(CHECKOUT));
  execFileSync('mount', ['--rbind', ROOT, debian.path(CHECKOUT)]);
  return debian;
}

/** As the Makefile runs it. */
function script(debian: Tree, ...args: readonly string[]): Ran {
  const command = `cd ${CHECKOUT} && exec node_modules/.bin/node scripts/install.ts "$@"`;
  return debian.run('sh', '-c', command, 'sh', ...args);
}

function good({ status, output }: Ran): string {
  assert.equal(status, 0, output);
  return output;
}

function declare(): void {
  test('make install lays out what the packages have, and make uninstall takes it away', (t) => {
    const debian = tree(t, 'by-make');
    assert.match(good(script(debian)), /^installed\. Next: edit \/etc\/trousseau\/config\.yaml/m);
    assert.match(good(debian.run('trousseau', 'version')), /^trousseau \d/);
    assert.equal(readlinkSync(debian.path('/usr/bin/trousseau')), '/opt/trousseau/trousseau');
    const owner = debian.run('stat', '--format=%a %U:%G', CONFIG);
    assert.equal(good(owner).trim(), '640 root:trousseau');
    assert.equal(debian.run('systemctl', 'is-enabled', SERVICE).output.trim(), 'disabled');
    assert.equal(lstatSync(debian.path('/usr/lib/trousseau/restart')).mode & 0o777, 0o755);
    writeFileSync(debian.path(CONFIG), '# mine\n');
    writeFileSync(debian.path(SECRET), 'secret');
    mkdirSync(debian.path('/etc/apparmor.d'), { recursive: true });
    good(script(debian));
    assert.equal(readFileSync(debian.path(CONFIG), 'utf8'), '# mine\n');
    assert.match(
      readFileSync(debian.path(PROFILE), 'utf8'),
      /^ {2}\/opt\/trousseau\/lib\/node mrix,$/m,
    );
    good(script(debian, 'remove'));
    for (const path of [
      '/usr/bin/trousseau',
      '/opt/trousseau',
      '/usr/lib/trousseau',
      '/usr/share/doc/trousseau',
      '/usr/lib/systemd/system/trousseau.service.d',
      PROFILE,
    ])
      assert.ok(!existsSync(debian.path(path)), path);
    for (const path of [CONFIG, SECRET]) assert.ok(existsSync(debian.path(path)), path);
  });

  test('the service runs what make install has laid, whatever the umask of root is', (t) => {
    const debian = tree(t, 'umask');
    const command = `umask 077; cd ${CHECKOUT} && exec node_modules/.bin/node scripts/install.ts`;
    good(debian.run('sh', '-c', command));
    const service = ['--reuid=trousseau', '--regid=trousseau-kms', '--init-groups'];
    assert.match(good(debian.run('setpriv', ...service, 'trousseau', 'version')), /^trousseau \d/);
    for (const folder of ['/opt/trousseau/lib', '/usr/lib/trousseau', '/usr/share/doc/trousseau'])
      assert.equal(lstatSync(debian.path(folder)).mode & 0o777, 0o755, folder);
  });

  test('make install brings a newer AppArmor profile, and neither it nor a removal touches an edited one', (t) => {
    const debian = tree(t, 'profile');
    mkdirSync(debian.path('/etc/apparmor.d'));
    const SHIPPED = '/usr/lib/trousseau/apparmor-profile';
    good(script(debian));
    const ours = readFileSync(debian.path(PROFILE), 'utf8');
    for (const path of [PROFILE, SHIPPED]) writeFileSync(debian.path(path), '# of before\n');
    good(script(debian));
    assert.equal(readFileSync(debian.path(PROFILE), 'utf8'), ours);
    writeFileSync(debian.path(PROFILE), '# edited\n');
    good(script(debian));
    assert.match(
      good(script(debian, 'remove')),
      /stays, and so does \/etc\/apparmor\.d\/trousseau/,
    );
    assert.equal(readFileSync(debian.path(PROFILE), 'utf8'), '# edited\n');
  });

  test('make uninstall needs nothing of what make build leaves', (t) => {
    const debian = tree(t, 'no-build');
    good(script(debian));
    const hidden = debian.path(`${CHECKOUT}/dist`);
    execFileSync('mount', ['--types', 'tmpfs', 'none', hidden]);
    good(script(debian, 'remove'));
    execFileSync('umount', [hidden]);
    assert.ok(!existsSync(debian.path('/opt/trousseau')));
  });

  test('make install refuses to overwrite the program of a package', (t) => {
    const debian = tree(t, 'beside-package');
    const file = debian.bring(realPackages(VERSION).file('deb'));
    good(debian.run('dpkg', '--install', file));
    const refused = script(debian);
    assert.equal(refused.status, 1);
    assert.match(refused.output, /\/usr\/bin\/trousseau is of a package: remove it first/);
  });

  test('without certificates on the machine nothing but lines of our own is on stderr', (t) => {
    const debian = tree(t, 'no-certificates');
    assert.ok(!existsSync(debian.path('/etc/ssl/certs')));
    good(script(debian));
    const vault =
      "{addresses: ['https://127.0.0.1:9'], key: k, auth: {token: {tokenFile: /token}}}";
    writeFileSync(debian.path('/token'), 't', { mode: 0o600 });
    const kind = 'apiVersion: trousseau.io/v1\nkind: KMSPluginConfiguration\n';
    writeFileSync(debian.path(CONFIG), `${kind}providers: [{name: v, vault: ${vault}}]\n`);
    const { status, output } = debian.run('trousseau', 'preflight', '--time-limit', '2s');
    assert.equal(status, 1, output);
    assert.match(output, /^(proved: .*\n|NOT PROVED: .*\n)+$/);
  });
}
