/**
 * The RPM under dnf, rpm and a booted systemd, by the commands of docs/install-offline.md. The machine
 * is a Debian, and what the package requires comes from one RPM that provides what its libraries do.
 */
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { it } from 'node:test';
import { COMMANDS, SPEC, SPEC_FILE } from '../base-rpm.ts';
import {
  CONFIG,
  KEYRING,
  keyringConfig,
  owned,
  property,
  SERVICE,
  SOCKET_UNIT,
  systemctl,
  withClient,
  writeConfig,
  writeInside,
} from '../installation.ts';
import type { Machine } from '../nspawn.ts';
import { commandsOf, typed } from '../offline-document.ts';
import type { Release } from '../packages-built.ts';
import { decrypt, encrypt, SEED } from './recovering.ts';
import { hasOpenFile, NEWER_VERSION, OLD_VERSION, STICK, type UnderTest } from './under-test.ts';
import { CALLERS, changeUnderLoad } from './upgrading.ts';

/** A distribution's own repository, which nobody reaches offline. */
const UNREACHABLE = `[baseos]
name=BaseOS
baseurl=https://mirror.invalid/baseos
enabled=1
`;

/** What step 2 leaves of a stick, which stays there, after the one before. */
async function insertStick(machine: Machine, stick: string): Promise<void> {
  const [makeRoom = ''] = commandsOf('## Upgrading');
  await machine.must(typed(`${makeRoom}mkdir /srv/trousseau && ln -s ${stick}/* /srv/trousseau`));
}

/** Needs a machine without the package, but with a local keyring; leaves it so. */
export function rpm(under: UnderTest): void {
  const at = (stick: string, { packages }: Release): string =>
    join(stick, basename(packages.file('rpm')));
  const type = (commands: string | undefined): Promise<string> =>
    under.machine.must(typed(commands ?? ''));
  const version = (): Promise<string> =>
    under.machine.must(['rpm', '-q', '--queryformat', '%{VERSION}', 'trousseau']);
  let stored: Awaited<ReturnType<typeof encrypt>>;

  it('dnf installs the signed RPM, and lays every file out as the package says', async () => {
    const { machine, suite, old } = under;
    await writeInside(machine, SPEC_FILE, SPEC, 0o644);
    await type(COMMANDS);
    mkdirSync(join(machine.root, '/etc/yum.repos.d'), { recursive: true });
    await writeInside(machine, '/etc/yum.repos.d/baseos.repo', UNREACHABLE, 0o644);
    await insertStick(machine, STICK.old);
    const [, byDnf] = commandsOf('## 3. Install');
    await type(byDnf);
    const checked = await machine.must(['rpmkeys', '--checksig', at(STICK.old, old)]);
    assert.match(checked, /digests signatures OK/);
    assert.equal(await version(), OLD_VERSION.replace('-', '~'));
    assert.equal((await machine.must(['rpm', '-V', 'trousseau'])).trim(), '');
    const format = '[%{FILEMODES:octal} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\\n]';
    const listed = await machine.must(['rpm', '-q', '--queryformat', format, 'trousseau']);
    const lines = listed.trimEnd().split('\n');
    assert.ok(lines.length > 20, listed);
    const paths = lines.map((line) => line.split(' ')[2] ?? '');
    const there = await machine.must(['stat', '--format=%a %U:%G %n', ...paths]);
    // The kind of a file is in front of its mode.
    const modes = lines.map((line) => line.replace(/^0?\d+(\d{3}) /, '$1 '));
    assert.deepEqual(there.trimEnd().split('\n'), modes);
    assert.equal(await owned(machine, CONFIG), '640 root:trousseau');
    const access = hasOpenFile(suite) ? 'main' : 'all';
    assert.equal(await property(machine, SERVICE, 'NotifyAccess'), access);
  });

  it('the RPM leaves it switched off, and decrypts what the Debian package encrypted', async () => {
    const { machine } = under;
    for (const unit of [SERVICE, SOCKET_UNIT]) {
      assert.equal(await property(machine, unit, 'UnitFileState'), 'disabled');
      assert.equal(await property(machine, unit, 'ActiveState'), 'inactive');
    }
    await writeConfig(machine, keyringConfig('info'));
    await systemctl(machine, 'enable', '--now', SOCKET_UNIT, SERVICE);
    stored = await encrypt(machine);
  });

  it(`dnf upgrades it under ${CALLERS} concurrent callers without losing a call, and rpm downgrades it so`, async () => {
    const { machine, old } = under;
    appendFileSync(join(machine.root, CONFIG), '# mine\n');
    await insertStick(machine, STICK.newer);
    // Each release of the tests is signed by a key of its own.
    const [, installByDnf = ''] = commandsOf('## 3. Install');
    await type(installByDnf.split('\n')[0]);
    const [, , byDnf] = commandsOf('## Upgrading');
    await changeUnderLoad(machine, () => type(byDnf));
    assert.equal(await version(), NEWER_VERSION);
    assert.deepEqual(await decrypt(machine, stored), SEED);
    stored = await encrypt(machine);
    const downgrade = ['rpm', '-U', '--oldpackage', at(STICK.old, old)];
    await changeUnderLoad(machine, () => machine.must(downgrade));
    assert.equal(await version(), OLD_VERSION.replace('-', '~'));
    assert.deepEqual(await decrypt(machine, stored), SEED);
    assert.match(readFileSync(join(machine.root, CONFIG), 'utf8'), /# mine\n$/);
    const { out } = await machine.run(['rpm', '-V', 'trousseau']);
    assert.match(out, /^S\.5.* c \/etc\/trousseau\/config\.yaml\n$/);
  });

  it('rpm sees a program that was changed', async () => {
    const { machine } = under;
    await machine.must(['sh', '-c', 'cp /usr/bin/trousseau /root/kept && echo >>/root/kept']);
    await machine.must(['mv', '/root/kept', '/usr/bin/trousseau']);
    const { code, out } = await machine.run(['rpm', '-V', 'trousseau']);
    assert.notEqual(code, 0);
    assert.match(out, /^S\.5.*\/usr\/bin\/trousseau$/m);
  });

  it('a removal while somebody is connected warns, stops it, and keeps configuration and keys', async () => {
    const { machine } = under;
    const [, byDnf = ''] = commandsOf('## Removing it');
    const said = await withClient(machine, async ({ v2 }) => {
      await v2.status();
      const { code, out, err } = await machine.run(typed(byDnf));
      assert.equal(code, 0, out + err);
      return out + err;
    });
    assert.match(said, /WARNING: [1-9]\d* connection\(s\) to \/run\/trousseau\/kms\.sock are open/);
    const within = (path: string): string => join(machine.root, path);
    assert.ok(!existsSync(within('/usr/bin/trousseau')));
    assert.ok(!existsSync(within('/etc/systemd/system/trousseau.service.d/10-notify-main.conf')));
    assert.match(readFileSync(within(`${CONFIG}.rpmsave`), 'utf8'), /# mine\n$/);
    assert.ok(existsSync(within(KEYRING)));
    for (const unit of [SERVICE, SOCKET_UNIT])
      assert.equal(await property(machine, unit, 'ActiveState'), 'inactive');
  });
}
