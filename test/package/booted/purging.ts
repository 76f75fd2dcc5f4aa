/** A purge leaves what it has not made, and its user. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { CONFIG, SERVICE } from '../installation.ts';
import type { Machine } from '../nspawn.ts';
import { commandsOf, typed } from '../offline-document.ts';
import type { UnderTest } from './under-test.ts';

/** What systemd, dpkg and apt keep for themselves, and what the tests put there. */
const OTHERS = ['/dev', '/proc', '/sys', '/run', '/tmp', '/home', '/srv', '/var/log', '/var/cache'];
// dpkg-db-backup.timer writes to the last one at midnight.
const KEEPERS = ['/var/lib/dpkg', '/var/lib/apt', '/var/lib/systemd', '/etc/apt', '/var/backups'];
const LEFT_BY_USERADD = /\/etc\/((passwd|group|shadow|gshadow|subuid|subgid)-|\.pwd\.lock)$/;

/** Every path of the disk that could be a rest of a package. */
export async function filesOf(machine: Machine): Promise<readonly string[]> {
  const pruned = [...OTHERS, ...KEEPERS].flatMap((path) => ['-path', path, '-o']).slice(0, -1);
  const found = await machine.must(['find', '/', '(', ...pruned, ')', '-prune', '-o', '-print']);
  return found.split('\n').filter((path) => path !== '' && !LEFT_BY_USERADD.test(path));
}

/** Needs the package installed with a provider that is not a local keyring. */
export function purging(under: UnderTest, before: () => readonly string[]): void {
  it('a purge leaves the files of the administrator, and no unit', async () => {
    const { machine } = under;
    await machine.must(['userdel', '--remove', 'member']);
    await machine.must(['userdel', 'stranger']);
    const [purge = ''] = commandsOf('## Removing it');
    const { code, out, err } = await machine.run(typed(purge));
    assert.equal(code, 0, out + err);
    const known = new Set(before());
    const left = (await filesOf(machine)).filter((path) => !known.has(path));
    const folders = ['/etc/trousseau', `/etc/systemd/system/${SERVICE}.d`];
    assert.deepEqual(
      left.filter((path) => !folders.some((folder) => `${path}/`.startsWith(`${folder}/`))),
      [],
    );
    const files = left.filter((path) => !folders.includes(path));
    assert.ok(files.length > 0);
    const said = out + err;
    for (const file of files) assert.ok(said.includes(file), `${file} is not named: ${said}`);
    assert.ok(!left.includes(CONFIG));
    assert.notEqual((await machine.run(['ls', '/run/trousseau'])).code, 0);
    assert.equal((await machine.run(['getent', 'passwd', 'trousseau'])).code, 0);
    await machine.must(['rm', '-r', ...folders]);
    const units = await machine.must(['systemctl', 'list-units', '--all', '--plain', 'trousseau*']);
    assert.match(units, /^0 loaded units listed/m);
  });
}
