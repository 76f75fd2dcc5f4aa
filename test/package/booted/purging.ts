/** A purge of a package that held no keys leaves nothing. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Machine } from '../nspawn.ts';
import { commandsOf, typed } from '../offline-document.ts';
import type { UnderTest } from './under-test.ts';

/** What systemd, dpkg and apt keep for themselves, and what the tests put there. */
const OTHERS = ['/dev', '/proc', '/sys', '/run', '/tmp', '/home', '/srv', '/var/log', '/var/cache'];
const KEEPERS = ['/var/lib/dpkg', '/var/lib/apt', '/var/lib/systemd', '/etc/apt'];
const LEFT_BY_USERADD = /\/etc\/((passwd|group|shadow|gshadow|subuid|subgid)-|\.pwd\.lock)$/;

/** Every path of the disk that could be a rest of a package. */
export async function filesOf(machine: Machine): Promise<readonly string[]> {
  const pruned = [...OTHERS, ...KEEPERS].flatMap((path) => ['-path', path, '-o']).slice(0, -1);
  const found = await machine.must(['find', '/', '(', ...pruned, ')', '-prune', '-o', '-print']);
  return found.split('\n').filter((path) => path !== '' && !LEFT_BY_USERADD.test(path));
}

/** Needs the package installed with a provider that is not a local keyring. */
export function purging(under: UnderTest, before: () => readonly string[]): void {
  it('a purge leaves no file, no user and no unit', async () => {
    const { machine } = under;
    // Its group is the plugin's, which a purge takes away.
    await machine.must(['userdel', '--remove', 'member']);
    await machine.must(['userdel', 'stranger']);
    const [purge = ''] = commandsOf('## Removing it');
    await machine.must(typed(purge));
    const known = new Set(before());
    const left = (await filesOf(machine)).filter((path) => !known.has(path));
    assert.deepEqual(left, []);
    assert.notEqual((await machine.run(['ls', '/run/trousseau'])).code, 0);
    for (const entry of [
      ['passwd', 'trousseau'],
      ['group', 'trousseau'],
      ['group', 'trousseau-kms'],
    ])
      assert.equal((await machine.run(['getent', ...entry])).code, 2, entry.join(' '));
    const units = await machine.must(['systemctl', 'list-units', '--all', '--plain', 'trousseau*']);
    assert.match(units, /^0 loaded units listed/m);
  });
}
