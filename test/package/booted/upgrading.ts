/** Upgrade, downgrade and removal by apt, while kube-apiserver calls. */
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { startCallers } from '../callers.ts';
import {
  CONFIG,
  KEYRING,
  owned,
  property,
  SERVICE,
  SOCKET,
  SOCKET_UNIT,
  saysOfItself,
  systemctl,
  withClient,
} from '../installation.ts';
import type { Machine } from '../nspawn.ts';
import { commandsOf, typed } from '../offline-document.ts';
import { aptInstall, insertStick } from './installing.ts';
import { decrypt, encrypt, SEED } from './recovering.ts';
import { NEWER_VERSION, OLD_VERSION, packageVersion, STICK, type UnderTest } from './under-test.ts';

export const CALLERS = 64;

/** Changes the installed package by `change`, under load; the socket stays, and no call is lost. */
export async function changeUnderLoad(
  machine: Machine,
  change: () => Promise<unknown>,
): Promise<void> {
  const before = await listening(machine);
  await using callers = startCallers(join(machine.root, SOCKET), CALLERS);
  await callers.more(CALLERS * 4);
  await change();
  await callers.more(CALLERS * 4);
  const { lost, cutOff } = await callers.stop();
  assert.deepEqual({ lost, cutOff }, { lost: [], cutOff: 0 });
  const then = await listening(machine);
  assert.notEqual(then.pid, before.pid, 'the service was restarted');
  assert.equal(then.since, before.since, 'the socket never stopped');
  assert.equal(await property(machine, SERVICE, 'ActiveState'), 'active');
}

async function listening(machine: Machine): Promise<{ pid: string; since: string }> {
  return {
    pid: await property(machine, SERVICE, 'MainPID'),
    since: await property(machine, SOCKET_UNIT, 'ActiveEnterTimestampMonotonic'),
  };
}

/** Needs the older release active, with a local keyring; leaves it so. */
export function upgrading(under: UnderTest): void {
  const installed = async (): Promise<string | undefined> =>
    (await under.machine.must(['dpkg-query', '--show', 'trousseau'])).trim().split('	')[1];
  let stored: Awaited<ReturnType<typeof encrypt>>;

  it(`an upgrade under ${CALLERS} concurrent callers loses no call, and keeps the configuration`, async () => {
    const { machine } = under;
    await machine.must(['chown', 'root:trousseau', CONFIG]);
    appendFileSync(join(machine.root, CONFIG), '# mine\n');
    await insertStick(machine, STICK.newer);
    const [, byApt = ''] = commandsOf('## Upgrading');
    await changeUnderLoad(machine, () => machine.must(typed(byApt)));
    assert.equal(await installed(), packageVersion(NEWER_VERSION));
    assert.match(readFileSync(join(machine.root, CONFIG), 'utf8'), /# mine\n$/);
    assert.equal(await owned(machine, CONFIG), '640 root:trousseau');
    for (const unit of [SERVICE, SOCKET_UNIT])
      assert.equal(await property(machine, unit, 'UnitFileState'), 'enabled');
    stored = await encrypt(machine);
  });

  it(`a downgrade under ${CALLERS} concurrent callers loses none either, and the older one decrypts`, async () => {
    const { machine } = under;
    await insertStick(machine, STICK.old);
    await changeUnderLoad(machine, () => aptInstall(machine, OLD_VERSION));
    assert.equal(await installed(), packageVersion(OLD_VERSION));
    assert.deepEqual(await decrypt(machine, stored), SEED);
    assert.match(readFileSync(join(machine.root, CONFIG), 'utf8'), /# mine\n$/);
  });
}

/** Needs the package active, with a local keyring; leaves the keyring and nothing else. */
export function removing(under: UnderTest): void {
  it('a removal warns of nobody where nobody is connected, and keeps the configuration', async () => {
    const { machine } = under;
    const { code, out, err } = await machine.run(['apt-get', 'remove', '--yes', 'trousseau']);
    assert.equal(code, 0, out + err);
    assert.doesNotMatch(out + err, /WARNING/);
    for (const unit of [SERVICE, SOCKET_UNIT])
      assert.equal(await property(machine, unit, 'ActiveState'), 'inactive');
    assert.match(readFileSync(join(machine.root, CONFIG), 'utf8'), /# mine\n$/);
    await aptInstall(machine, OLD_VERSION);
    await systemctl(machine, 'enable', '--now', SOCKET_UNIT, SERVICE);
    await saysOfItself(machine, /^ready/);
  });

  it('a removal warns of a client in another network namespace', async () => {
    const { machine } = under;
    const connect = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new('${SOCKET}') or die $!; sleep 60`;
    const apart = ['systemd-run', '--quiet', '--unit=client', '--property=PrivateNetwork=yes'];
    await machine.must([...apart, 'perl', '-e', connect]);
    const { code, out, err } = await machine.run(['apt-get', 'remove', '--yes', 'trousseau']);
    assert.equal(code, 0, out + err);
    assert.match(out + err, /WARNING: 1 connection\(s\) to/);
    await systemctl(machine, 'stop', 'client.service');
    await aptInstall(machine, OLD_VERSION);
    await systemctl(machine, 'enable', '--now', SOCKET_UNIT, SERVICE);
    await saysOfItself(machine, /^ready/);
  });

  it('a purge while somebody is connected warns, and keeps the keys without which the cluster is lost', async () => {
    const { machine } = under;
    const [purge = ''] = commandsOf('## Removing it');
    const said = await withClient(machine, async ({ v2 }) => {
      await v2.status();
      const { code, out, err } = await machine.run(typed(purge));
      assert.equal(code, 0, out + err);
      return out + err;
    });
    assert.match(said, /WARNING: [1-9]\d* connection\(s\) to \/run\/trousseau\/kms\.sock are open/);
    assert.match(said, /kept, since the package has not made it/);
    assert.ok(said.includes(KEYRING));
    assert.ok(existsSync(join(machine.root, KEYRING)));
    assert.ok(!existsSync(join(machine.root, '/usr/bin/trousseau')));
    assert.ok(!existsSync(join(machine.root, SOCKET)));
    await systemctl(machine, 'daemon-reload');
    for (const unit of [SERVICE, SOCKET_UNIT])
      assert.equal(await property(machine, unit, 'ActiveState'), 'inactive');
  });
}
