/** /usr/lib/trousseau/restart with systemd itself: what a drop-in adds to the start is proved, or the process stays. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  property,
  READY_MS,
  SERVICE,
  SOCKET,
  SOCKET_UNIT,
  saysOfItself,
  systemctl,
  writeInside,
} from '../installation.ts';
import type { UnderTest } from './under-test.ts';

const DROP_IN = `/etc/systemd/system/${SERVICE}.d/60-test.conf`;
const UNREADABLE = '/usr/bin/trousseau serve --config /etc/trousseau/absent.yaml';

/** None of them is told to systemd before: that is a part of each. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  [`[Service]\nExecStart=\nExecStart=${UNREADABLE}\n`]: /NOT PROVED: configuration/,
  '[Service]\nExecCondition=+/bin/false\n': /a condition of its unit .* does not hold/,
  '[Unit]\nConditionPathExists=/absent\n': /a condition of its unit .* does not hold/,
  '[Unit]\nAssertPathExists=/absent\n': /a new process has not proved/,
  '[Service]\nExecStartPre=/bin/true\n': /it has an ExecStartPre= command/,
  '[Service]\nExecStartPost=/bin/true\n': /it has an ExecStartPost= command/,
  '[Service]\nLoadCredential=x:/etc/absent/%N\n': /a new process has not proved/,
  '[Unit]\nRequires=absent.service\n': /requires absent\.service, which is not active/,
};
const MASK = `/etc/systemd/system/${SERVICE}`;
const SOCKET_DROP_IN = `/etc/systemd/system/${SOCKET_UNIT}.d/60-test.conf`;
const SOCKET_MASK = `/etc/systemd/system/${SOCKET_UNIT}`;
const TAKEN =
  '[Unit]\nConditionPathExists=/etc/trousseau\n[Service]\nExecCondition=+/bin/true\nEnvironment=TAKEN=%N\n';

/** Needs the service active, with a local keyring; leaves it so. */
export function provedRestart(under: UnderTest): void {
  const pid = (): Promise<string> => property(under.machine, SERVICE, 'MainPID');
  const restart = () => under.machine.run(['/usr/lib/trousseau/restart']);
  /** The process that runs then. */
  const restarts = async (before: string): Promise<string> => {
    const outcome = await restart();
    const after = await pid();
    assert.notEqual(after, before);
    const out = `trousseau: ${SERVICE} was restarted: process ${after} runs instead of process ${before}\n`;
    assert.deepEqual(outcome, { code: 0, out, err: '' });
    return after;
  };

  it('a drop-in with which no process would start ends none, also where systemd has not read it', async () => {
    const before = await pid();
    for (const [text, why] of Object.entries(REFUSED)) {
      await writeInside(under.machine, DROP_IN, text, 0o644);
      const { code, err } = await restart();
      assert.equal(code, 1, err);
      assert.match(err, why, text);
      assert.match(err, /was NOT restarted/, text);
      assert.equal(await pid(), before, text);
    }
  });

  it('the process of a unit that cannot be loaded stays, and systemd hears it', async () => {
    const before = await pid();
    await writeInside(under.machine, DROP_IN, '[Service]\nExecStart=\n', 0o644);
    const { err } = await restart();
    assert.match(err, /NOT restarted: its unit is bad-setting/);
    assert.equal(await property(under.machine, SERVICE, 'WatchdogUSec'), '20s');
    assert.equal(await pid(), before);
    await under.machine.must(['rm', DROP_IN]);
    await under.machine.must(['systemctl', 'daemon-reload']);
  });

  it('the process of a unit that is masked stays, and systemd does not load the mask', async () => {
    const before = await pid();
    await under.machine.must(['ln', '-s', '/dev/null', MASK]);
    const { err } = await restart();
    assert.match(err, /NOT restarted: its unit is masked/);
    assert.equal(await property(under.machine, SERVICE, 'LoadState'), 'loaded');
    assert.equal(await pid(), before);
    await under.machine.must(['rm', MASK]);
    await restarts(before);
  });

  it('the process stays where the next one would not get the socket', async () => {
    const { machine } = under;
    const before = await pid();
    const stays = async (why: RegExp): Promise<void> => {
      const { code, err } = await restart();
      assert.equal(code, 1, err);
      assert.match(err, why);
      assert.equal(await pid(), before);
    };
    await machine.must(['ln', '-s', '/dev/null', SOCKET_MASK]);
    await stays(/NOT restarted: trousseau\.socket is masked/);
    assert.equal(await property(machine, SOCKET_UNIT, 'LoadState'), 'loaded');
    await writeInside(machine, SOCKET_DROP_IN, '[Socket]\nListenStream=\n', 0o644);
    await machine.must(['rm', SOCKET_MASK]);
    await stays(/NOT restarted: the unit of trousseau\.socket is bad-setting/);
    await machine.must(['rm', SOCKET_DROP_IN]);
    await systemctl(machine, 'daemon-reload');
    await stays(/systemd does not hold/);
    await systemctl(machine, 'restart', SOCKET_UNIT);
    await saysOfItself(machine, /^ready/, READY_MS);
  });

  it('the process stays where the next one would refuse the socket', async () => {
    const { machine } = under;
    const before = await pid();
    for (const [change, why] of [
      ['chmod 0666 SOCKET', /NOT PROVED: socket: .*everybody \(mode 0666\)/],
      ['chown nobody SOCKET && chmod 0660 SOCKET', /NOT PROVED: socket: .*another user/],
      ['rm SOCKET', /NOT PROVED: socket: .*there is no socket/],
    ] as const) {
      await machine.must(['sh', '-ec', change.replaceAll('SOCKET', SOCKET)]);
      const { code, err } = await restart();
      assert.equal(code, 1, err);
      assert.match(err, why);
      assert.match(err, /proved: running process: all/);
      assert.equal(await pid(), before);
    }
    await systemctl(machine, 'restart', SOCKET_UNIT);
    await saysOfItself(machine, /^ready/, READY_MS);
  });

  it('a limit of starts in a drop-in, which is used up, leaves nobody without a process', async () => {
    const limit = '[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=2\n';
    await writeInside(under.machine, DROP_IN, limit, 0o644);
    let before = await pid();
    for (let i = 0; i < 4; i += 1) before = await restarts(before);
    await under.machine.must(['rm', DROP_IN]);
    await under.machine.must(['systemctl', 'daemon-reload']);
    await saysOfItself(under.machine, /^ready/, READY_MS);
  });

  it('a drop-in that is proved is what the new process has, without a daemon-reload', async () => {
    const before = await pid();
    await writeInside(under.machine, DROP_IN, TAKEN, 0o644);
    const after = await restarts(before);
    assert.match(await under.machine.must(['cat', `/proc/${after}/environ`]), /TAKEN=trousseau\0/);
    await under.machine.must(['rm', DROP_IN]);
    await restarts(after);
    await saysOfItself(under.machine, /^ready/, READY_MS);
  });
}
