/** From the stick to an installed package that is switched off: docs/install-offline.md, steps 1 to 3. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { it } from 'node:test';
import { addUsers, CONFIG, owned, property, SERVICE, SOCKET_UNIT } from '../installation.ts';
import type { Machine } from '../nspawn.ts';
import { hasOpenFile, OLD_VERSION, packageVersion, STICK, type UnderTest } from './under-test.ts';

/** What a node has of a release, and apt reads. */
const COPY = '/srv/trousseau';
const HIGHEST_SCORE = { trixie: 1.0, bookworm: 1.2 } as const;

/** Brings the release on a stick to where apt looks for it and for nothing else, by the shell's `bring`. */
async function offer(machine: Machine, bring: string): Promise<void> {
  const source =
    'Types: deb\nURIs: file:SRV/apt\nSuites: stable\nComponents: main\nSigned-By: KEY\n'
      .replace('SRV', COPY)
      .replace('KEY', '/etc/apt/keyrings/trousseau.asc');
  await machine.must([
    'sh',
    '-ec',
    `rm -rf ${COPY} /etc/apt/sources.list /etc/apt/sources.list.d/*
     ${bring}
     install -D -m 0644 ${COPY}/trousseau-signing-key.asc /etc/apt/keyrings/trousseau.asc`,
  ]);
  writeFileSync(join(machine.root, '/etc/apt/sources.list.d/trousseau.sources'), source);
}

/** As much of it as apt needs, to be changed: what is written inside is in memory. */
function copyStick(machine: Machine, stick: string): Promise<void> {
  const needed = ['apt', 'trousseau-signing-key.asc'].map((name) => `${stick}/${name}`);
  return offer(machine, `mkdir ${COPY} && cp -r ${needed.join(' ')} ${COPY}`);
}

/** Has apt know the release on a stick, which stays there, and no other source. */
export async function insertStick(machine: Machine, stick: string): Promise<void> {
  await offer(machine, `mkdir ${COPY} && ln -s ${stick}/* ${COPY}`);
  await updateLists(machine);
}

async function updateLists(machine: Machine): Promise<void> {
  const { code, out, err } = await machine.run(['apt-get', 'update']);
  assert.equal(code, 0, out + err);
  assert.doesNotMatch(out + err, /^[WE]:/m);
}

/** Installs what the stick has, newer or older than what is there. */
export async function aptInstall(machine: Machine, version: string): Promise<string> {
  const name = `trousseau=${packageVersion(version)}`;
  return await machine.must(['apt-get', 'install', '--yes', '--allow-downgrades', name]);
}

/** Refusals first; afterwards the older release is installed. */
export function installing(under: UnderTest): void {
  it('apt refuses lists that the key did not sign', async () => {
    const { machine } = under;
    await copyStick(machine, STICK.old);
    const list = join(machine.root, COPY, 'apt/dists/stable/InRelease');
    writeFileSync(list, readFileSync(list, 'utf8').replace('Origin: T', 'Origin: t'));
    await machine.must(['rm', `${COPY}/apt/dists/stable/Release`]);
    const { code, out, err } = await machine.run(['apt-get', 'update']);
    assert.notEqual(code, 0);
    assert.match(out + err, /^E: .*sign/im);
  });

  it('apt refuses a package that was changed on its way, and installs nothing', async () => {
    const { machine } = under;
    await copyStick(machine, STICK.old);
    await updateLists(machine);
    const name = basename(under.old.packages.file('deb'));
    const [file] = globSync(join(machine.root, COPY, 'apt/pool/**', name));
    assert.ok(file !== undefined);
    const bytes = readFileSync(file);
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
    writeFileSync(file, bytes);
    const refused = await machine.run(['apt-get', 'install', '--yes', 'trousseau']);
    assert.notEqual(refused.code, 0);
    assert.match(refused.out + refused.err, /Hash Sum mismatch|unexpected size/);
    assert.ok(!existsSync(join(machine.root, '/usr/bin/trousseau')));
  });

  it('apt installs it from the stick, and nothing is enabled or started', async () => {
    const { machine } = under;
    await insertStick(machine, STICK.old);
    await aptInstall(machine, OLD_VERSION);
    for (const unit of [SERVICE, SOCKET_UNIT]) {
      assert.equal(await property(machine, unit, 'UnitFileState'), 'disabled');
      assert.equal(await property(machine, unit, 'ActiveState'), 'inactive');
    }
    assert.equal(await owned(machine, CONFIG), '640 root:trousseau');
    assert.equal(await owned(machine, '/etc/trousseau'), '750 root:trousseau');
    assert.equal(await machine.must(['dpkg', '--verify', 'trousseau']), '');
    await addUsers(machine);
  });

  const heard = hasOpenFile(under.suite) ? 'the main process alone is' : 'systemd-notify is';
  it(`where systemd is of this version, ${heard} heard when it says that it is ready`, async () => {
    const { machine } = under;
    const link = '/etc/systemd/system/trousseau.service.d/10-notify-main.conf';
    const linked = (await machine.run(['test', '-L', link])).code === 0;
    assert.equal(linked, hasOpenFile(under.suite));
    const access = hasOpenFile(under.suite) ? 'main' : 'all';
    assert.equal(await property(machine, SERVICE, 'NotifyAccess'), access);
  });

  it('systemd finds no fault with the units, and exposes little of them', async () => {
    const { machine, suite } = under;
    const { code, err } = await machine.run(['systemd-analyze', 'verify', SERVICE, SOCKET_UNIT]);
    assert.equal(code, 0, err);
    const known = /^.*(Unknown key.*OpenFile|\/trousseau\.conf).*$/gm;
    assert.doesNotMatch(err.replace(known, ''), /trousseau/);
    const report = await machine.must(['systemd-analyze', 'security', '--no-pager', SERVICE]);
    const score = Number(/exposure level for \S+: ([\d.]+)/.exec(report)?.[1]);
    assert.ok(score <= HIGHEST_SCORE[suite], `${score}`);
  });
}
