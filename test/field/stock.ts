/**
 * The package on a Debian with all that its installer puts on a server: udev, AppArmor, needrestart and a kernel of
 * its own. The administrator has another language, time zone and umask than whoever made the package, and
 * types what the documents say, from the installation to the purge.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { sandbox } from '../package/booted/sandbox.ts';
import { NEWER_VERSION, OLD_VERSION, packageVersion } from '../package/booted/under-test.ts';
import {
  addUsers,
  CONFIG,
  MEMBER,
  owned,
  property,
  SERVICE,
  SOCKET_UNIT,
  systemctl,
} from '../package/installation.ts';
import { type Shell, shellOf } from '../package/nspawn.ts';
import { commandOf, commandsOf, typed } from '../package/offline-document.ts';
import { realRelease } from '../package/packages-built.ts';
import { needBuilt } from '../package/servers-built.ts';
import type { Suite } from '../package/trees.ts';
import { SECRET_ID, typeStep4 } from '../package/vault-of-node.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { CALLS, callOnce, journals, layCalls } from './vm/kubernetes-calls.ts';
import { nodeWithVault, prepareNodeWithVault, READY_MS } from './vm/node-with-vault.ts';
import type { Distribution } from './vm/virtual-machine.ts';

const LANGUAGE = 'de_DE.UTF-8';
const ZONE = 'Asia/Kolkata';
const STICKS = '/srv/sticks';
const ENOUGH = '/run/enough-calls';
/** What needrestart puts above the services that it does not restart. */
const DEFERRED = 'Service restarts being deferred:';

export function stockDebian(suite: Suite): Distribution {
  const packages = ['apparmor', 'curl', 'gnupg', 'locales', 'needrestart'];
  return { suite, extent: 'standard', packages };
}

/** Makes what takes a network, before there is none. */
export function prepareStock(distribution: Distribution): void {
  needBuilt(['kms-client-1.36']);
  prepareNodeWithVault(distribution);
  for (const version of [OLD_VERSION, NEWER_VERSION]) realRelease(version);
}

/** Declares the tests; only inOwnNamespaces. */
export function stockMachine(title: string, distribution: Distribution): void {
  describe(`the package on ${title}`, () => {
    const under = nodeWithVault({ distribution, lay });
    const administrator = shellOf((argv, as) => {
      const env = ['env', `LC_ALL=${LANGUAGE}`, 'HOME=/root'];
      return under.machine.run(['sh', '-c', 'umask 077; exec "$0" "$@"', ...env, ...argv], as);
    });
    const machine = { machine: administrator };
    const type = (commands: string): Promise<string> => administrator.must(typed(commands));
    const mainPid = () => property(administrator, SERVICE, 'MainPID');
    const calls = (): Promise<void> => callOnce(administrator, MEMBER);

    it('the machine is an ordinary one, and its administrator is not who made the package', async () => {
      for (const unit of ['systemd-udevd', 'apparmor'])
        assert.equal(await property(administrator, unit, 'ActiveState'), 'active');
      assert.match(await administrator.must(['stat', '-c%a', '/dev/net/tun']), /^666$/m);
      assert.match(await administrator.run(['ls', '/missing']).then(({ err }) => err), /Datei/);
      assert.match(await administrator.must(['date', '+%z']), /^\+0530$/m);
    });

    it('steps 2 and 3: it is installed, and nothing is enabled or started', async () => {
      await bring(administrator, OLD_VERSION);
      await type(commandOf('## 2. Check it, on the node'));
      await type(commandsOf('## 3. Install')[0] ?? '');
      for (const unit of [SERVICE, SOCKET_UNIT]) {
        assert.equal(await property(administrator, unit, 'UnitFileState'), 'disabled');
        assert.equal(await property(administrator, unit, 'ActiveState'), 'inactive');
      }
      assert.equal(await owned(administrator, CONFIG), '640 root:trousseau');
      assert.equal(await owned(administrator, '/etc/trousseau'), '750 root:trousseau');
      assert.equal(await administrator.must(['dpkg', '--verify', 'trousseau']), '');
      await addUsers(administrator);
    });

    it('step 4: it is enabled and started, and says that it is ready', async () => {
      await typeStep4(administrator, under.ofNode, READY_MS);
      assert.equal(await owned(administrator, SECRET_ID), '640 root:trousseau');
      await calls();
    });

    describe('in its sandbox', () => sandbox(machine));

    it('a reload is taken by the process that runs', async () => {
      const pid = await mainPid();
      await systemctl(administrator, 'reload', SERVICE);
      assert.equal(await mainPid(), pid);
      await calls();
    });

    it('a restart is proved first, and the unproved one of systemctl works too', async () => {
      const first = await mainPid();
      await proved(administrator);
      const second = await mainPid();
      assert.notEqual(second, first);
      await calls();
      await systemctl(administrator, 'restart', SERVICE);
      assert.notEqual(await mainPid(), second);
      await calls();
    });

    it('an upgrade loses no call, keeps the configuration, and a new process serves', async () => {
      const pid = await mainPid();
      const unit = ['systemd-run', '--quiet', '--unit=calls', '--remain-after-exit'];
      await administrator.must([...unit, '--property=Type=exec', CALLS, ENOUGH]);
      const [clear = '', upgrade = ''] = commandsOf('## Upgrading');
      // Each release of the tests has another key than the one before.
      const [newKey = ''] = (commandsOf('## 3. Install')[0] ?? '').split('\n');
      await type(clear);
      await bring(administrator, NEWER_VERSION);
      await type(commandOf('## 2. Check it, on the node'));
      await type(newKey);
      await type(upgrade);
      await administrator.must(['touch', ENOUGH]);
      await waitUntil('the end of the calls', READY_MS, async () => {
        return (await property(administrator, 'calls.service', 'SubState')) !== 'running';
      });
      const ended = await property(administrator, 'calls.service', 'Result');
      const journal = await journals(administrator, 'calls.service', SERVICE);
      assert.equal(ended, 'success', journal);
      const installed = await administrator.must(['dpkg-query', '--show', 'trousseau']);
      assert.equal(installed.trim().split('\t')[1], packageVersion(NEWER_VERSION));
      assert.match(await administrator.must(['cat', CONFIG]), /appRole/);
      assert.notEqual(await mainPid(), pid);
      await calls();
    });

    it('needrestart, which looks for programs with old libraries, leaves it alone', async () => {
      await administrator.must(['sh', '-ec', REPLACE_LIBRARY]);
      const list = ['env', 'LC_ALL=C.UTF-8', 'needrestart', '-l', '-r', 'l'];
      const [restarted = '', deferred = ''] = (await administrator.must(list)).split(DEFERRED);
      assert.match(restarted, /systemctl restart .*\.service/);
      assert.doesNotMatch(restarted, /trousseau/);
      assert.match(deferred, /systemctl restart .*trousseau\.service/);
    });

    it('after a reboot it serves again, and nobody had to do anything', async () => {
      await under.machine.reboot();
      await calls();
    });

    it('a removal stops it, and a purge leaves what it has not made and says so', async () => {
      await administrator.must(['apt-get', 'remove', '--yes', 'trousseau']);
      for (const unit of [SERVICE, SOCKET_UNIT])
        assert.equal(await property(administrator, unit, 'ActiveState'), 'inactive');
      assert.match(await administrator.must(['cat', CONFIG]), /appRole/);
      const [purge = ''] = commandsOf('## Removing it');
      const { code, out, err } = await administrator.run(typed(purge));
      assert.equal(code, 0, out + err);
      assert.ok((out + err).includes(SECRET_ID));
      await administrator.must(['test', '-s', SECRET_ID]);
      assert.notEqual((await administrator.run(['test', '-e', CONFIG])).code, 0);
      assert.notEqual((await administrator.run(['test', '-e', '/usr/bin/trousseau'])).code, 0);
    });
  });
}

/** The plugin's processes, among others, have a C library then that is not on the disk any more. */
const REPLACE_LIBRARY = `library=$(readlink -f /lib/x86_64-linux-gnu/libc.so.6)
cp -a "$library" "$library.new"
mv "$library.new" "$library"`;

function lay(root: string): void {
  for (const version of [OLD_VERSION, NEWER_VERSION]) {
    const release = join(root, STICKS, version, 'release');
    cpSync(realRelease(version).folder, release, { recursive: true });
  }
  layCalls(root);
  rmSync(join(root, 'etc/localtime'), { force: true });
  symlinkSync(join('/usr/share/zoneinfo', ZONE), join(root, 'etc/localtime'));
  execFileSync('chroot', [root, 'localedef', '-i', 'de_DE', '-f', 'UTF-8', LANGUAGE]);
}

/** Another stick is in the place of the last one. */
async function bring(machine: Shell, version: string): Promise<void> {
  await machine.must(['ln', '-sfn', join(STICKS, version), '/media/stick']);
}

async function proved(machine: Shell): Promise<void> {
  const { code, out, err } = await machine.run(['/usr/lib/trousseau/restart']);
  assert.equal(code, 0, out + err);
  assert.match(
    out,
    /^trousseau: trousseau\.service was restarted: process \d+ runs instead of process \d+\n$/,
  );
  assert.equal(err, '');
}
