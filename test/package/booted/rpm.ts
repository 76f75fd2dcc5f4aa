/**
 * The RPM under rpm and a booted systemd. The machine is a Debian, hence --nodeps: what the package
 * requires has names of RPM distributions, and is not tested here.
 */
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { it } from 'node:test';
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
} from '../installation.ts';
import type { Release } from '../packages-built.ts';
import { decrypt, encrypt, SEED } from './recovering.ts';
import { hasOpenFile, NEWER_VERSION, OLD_VERSION, STICK, type UnderTest } from './under-test.ts';
import { CALLERS, changeUnderLoad } from './upgrading.ts';

/** Needs a machine without the package, but with a local keyring; leaves it so. */
export function rpm(under: UnderTest): void {
  const at = (stick: string, { packages }: Release): string =>
    join(stick, basename(packages.file('rpm')));
  const change = (...args: readonly string[]): Promise<string> =>
    under.machine.must(['rpm', '--nodeps', ...args]);
  const version = (): Promise<string> =>
    under.machine.must(['rpm', '-q', '--queryformat', '%{VERSION}', 'trousseau']);
  let stored: Awaited<ReturnType<typeof encrypt>>;

  it('rpm takes the signed RPM with the key, and lays every file out as the package says', async () => {
    const { machine, suite, old } = under;
    await machine.must(['rpmkeys', '--import', `${STICK.old}/trousseau-signing-key.asc`]);
    const checked = await machine.must(['rpmkeys', '--checksig', at(STICK.old, old)]);
    assert.match(checked, /digests signatures OK/);
    await change('-i', at(STICK.old, old));
    assert.equal(await version(), OLD_VERSION.replace('-', '~'));
    assert.equal((await machine.must(['rpm', '-V', '--nodeps', 'trousseau'])).trim(), '');
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
    writeConfig(machine, keyringConfig('info'));
    await systemctl(machine, 'enable', '--now', SOCKET_UNIT, SERVICE);
    stored = await encrypt(machine);
  });

  it(`rpm upgrades and downgrades it under ${CALLERS} concurrent callers without losing a call`, async () => {
    const { machine, old, newer } = under;
    appendFileSync(join(machine.root, CONFIG), '# mine\n');
    await changeUnderLoad(machine, () => change('-U', at(STICK.newer, newer)));
    assert.equal(await version(), NEWER_VERSION);
    assert.deepEqual(await decrypt(machine, stored), SEED);
    stored = await encrypt(machine);
    await changeUnderLoad(machine, () => change('-U', '--oldpackage', at(STICK.old, old)));
    assert.equal(await version(), OLD_VERSION.replace('-', '~'));
    assert.deepEqual(await decrypt(machine, stored), SEED);
    assert.match(readFileSync(join(machine.root, CONFIG), 'utf8'), /# mine\n$/);
    const { out } = await machine.run(['rpm', '-V', '--nodeps', 'trousseau']);
    assert.match(out, /^S\.5.* c \/etc\/trousseau\/config\.yaml\n$/);
  });

  it('rpm sees a program that was changed', async () => {
    const { machine } = under;
    await machine.must(['sh', '-c', 'cp /usr/bin/trousseau /root/kept && echo >>/root/kept']);
    await machine.must(['mv', '/root/kept', '/usr/bin/trousseau']);
    const { code, out } = await machine.run(['rpm', '-V', '--nodeps', 'trousseau']);
    assert.notEqual(code, 0);
    assert.match(out, /^S\.5.*\/usr\/bin\/trousseau$/m);
  });

  it('an erasure while somebody is connected warns, stops it, and keeps configuration and keys', async () => {
    const { machine } = under;
    const said = await withClient(machine, async ({ v2 }) => {
      await v2.status();
      const { code, out, err } = await machine.run(['rpm', '-e', 'trousseau']);
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
