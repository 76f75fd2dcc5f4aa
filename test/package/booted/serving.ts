/** Switched on with a local keyring: who may call, who may read what, and what it says of itself. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { waitUntil } from '../../servers/wait-until.ts';
import {
  CONFIG,
  configureKeyring,
  journal,
  KEYRING,
  keyringConfig,
  MEMBER,
  PLUGIN,
  property,
  READY_MS,
  SERVICE,
  SOCKET,
  SOCKET_UNIT,
  STRANGER,
  saysOfItself,
  systemctl,
  withClient,
  writeConfig,
} from '../installation.ts';
import { BENCH, mayRead, type UnderTest } from './under-test.ts';

const NOTES = '/home/member/notes';

/** Needs an installed package that never ran. */
export function serving(under: UnderTest): void {
  it('the first call starts it, in a folder that only the group can enter', async () => {
    const { machine } = under;
    await configureKeyring(machine);
    await systemctl(machine, 'enable', '--now', SOCKET_UNIT);
    const [folder, socket] = [join(machine.root, SOCKET, '..'), join(machine.root, SOCKET)];
    assert.equal(statSync(folder).mode & 0o7777, 0o750);
    assert.equal(statSync(socket).mode & 0o7777, 0o660);
    assert.equal(statSync(folder).gid, statSync(socket).gid);
    assert.equal(await property(machine, SERVICE, 'ActiveState'), 'inactive');
    const { key_id } = await withClient(machine, ({ v2 }) =>
      v2.encrypt(Buffer.alloc(32, 1), 'first'),
    );
    assert.match(key_id, /^local:v1:/);
    assert.equal(await property(machine, SERVICE, 'SubState'), 'running');
  });

  it('who is in the group calls it, and everybody else is refused', async () => {
    const { machine } = under;
    const { code, out } = await machine.run([...BENCH, '--socket', SOCKET], MEMBER);
    assert.equal(code, 0);
    assert.match(out, /encrypt {8}1 {2}through the plugin/);
    const refused = await machine.run([...BENCH, '--socket', SOCKET], STRANGER);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /permission denied at \/run\/trousseau\/kms\.sock/);
  });

  it('the plugin reads its own files and no other user does, nor it theirs', async () => {
    const { machine } = under;
    await machine.must(['sh', '-c', `umask 077 && echo mine >${NOTES}`], MEMBER);
    const byPluginMemberStranger: Readonly<Record<string, readonly boolean[]>> = {
      [CONFIG]: [true, false, false],
      [KEYRING]: [true, false, false],
      [NOTES]: [false, true, false],
      '/etc/shadow': [false, false, false],
      '/etc/passwd': [true, true, true],
    };
    for (const [path, expected] of Object.entries(byPluginMemberStranger)) {
      const seen = [PLUGIN, MEMBER, STRANGER].map((who) => mayRead(machine, path, who));
      assert.deepEqual(await Promise.all(seen), expected, path);
    }
    for (const folder of ['/etc/trousseau', '/var/lib/trousseau'])
      for (const who of [MEMBER, STRANGER])
        assert.notEqual((await machine.run(['ls', folder], who)).code, 0, `${who.user} ${folder}`);
  });

  it('it is ready with its socket, and says in one sentence how it is', async () => {
    const { machine } = under;
    await systemctl(machine, 'enable', '--now', SERVICE);
    assert.equal(await property(machine, SERVICE, 'ActiveState'), 'active');
    await saysOfItself(machine, /^ready, encrypting with local:v1:/);
    assert.ok(Number(await property(machine, SERVICE, 'WatchdogTimestampMonotonic')) > 0);
  });

  it('it is ready without a provider, and says what is wrong', async () => {
    const { machine } = under;
    await writeConfig(machine, keyringConfig('info').replace('keyring.json', 'none.json'));
    await systemctl(machine, 'restart', SERVICE);
    assert.equal(await property(machine, SERVICE, 'ActiveState'), 'active');
    await saysOfItself(machine, /none\.json/);
    await writeConfig(machine, keyringConfig('info'));
    await systemctl(machine, 'reload', SERVICE);
    await saysOfItself(machine, /^ready/);
  });

  it('systemctl reload takes a changed configuration, in the same process', async () => {
    const { machine } = under;
    const pid = await property(machine, SERVICE, 'MainPID');
    await writeConfig(machine, keyringConfig('debug'));
    await systemctl(machine, 'reload', SERVICE);
    await waitUntil('the new log level', READY_MS, async () => {
      await withClient(machine, ({ v2 }) => v2.status());
      return (await journal(machine, SERVICE)).some((line) => line.includes('"level":"debug"'));
    });
    assert.equal(await property(machine, SERVICE, 'MainPID'), pid);
    await writeConfig(machine, keyringConfig('info'));
    await systemctl(machine, 'reload', SERVICE);
  });

  it('a reload that is refused fails, says why, and shows in the status until one succeeds', async () => {
    const { machine } = under;
    const pid = await property(machine, SERVICE, 'MainPID');
    for (const [text, why] of [
      ['apiVersion: none\n', 'apiVersion'],
      [keyringConfig('info').replace('keyring.json', 'none.json'), 'none\\.json'],
    ] as const) {
      await writeConfig(machine, text);
      const { code } = await machine.run(['systemctl', 'reload', SERVICE]);
      assert.notEqual(code, 0);
      await saysOfItself(
        machine,
        new RegExp(`^ready, .*; the last reload was refused at .*${why}`),
      );
      const lines = (await journal(machine, SERVICE)).join('\n');
      assert.match(lines, /^reload refused: the configuration in use stays/m);
      await withClient(machine, ({ v2 }) => v2.encrypt(Buffer.alloc(32, 1), 'still'));
    }
    await writeConfig(machine, keyringConfig('info'));
    await systemctl(machine, 'reload', SERVICE);
    await saysOfItself(machine, /^ready, encrypting with \S+$/);
    assert.equal(await property(machine, SERVICE, 'MainPID'), pid);
  });

  it('it stops cleanly, leaves the socket, and has written a journal that can be read', async () => {
    const { machine } = under;
    await systemctl(machine, 'stop', SERVICE);
    assert.equal(await property(machine, SERVICE, 'Result'), 'success');
    assert.ok(statSync(join(machine.root, SOCKET)).isSocket());
    const lines = await journal(machine, SERVICE);
    const ours = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
    for (const message of ['listening', 'key announced', 'configuration reloaded', 'stopped'])
      assert.ok(
        ours.some(({ msg }) => msg === message),
        message,
      );
    assert.deepEqual(
      lines.filter((line) => /systemd could not be told|cannot tell/.test(line)),
      [],
    );
    await systemctl(machine, 'start', SERVICE);
  });
}
