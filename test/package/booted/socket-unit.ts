/** What happens to the service when its socket unit is restarted, fails, or loses its path. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { waitUntil } from '../../servers/wait-until.ts';
import {
  journal,
  property,
  READY_MS,
  SERVICE,
  SOCKET,
  SOCKET_UNIT,
  saysOfItself,
  systemctl,
  withClient,
  writeInside,
} from '../installation.ts';
import type { Machine } from '../nspawn.ts';
import type { UnderTest } from './under-test.ts';

/** systemd's own limit without StartLimitIntervalSec=0 is five starts in ten seconds. */
const RESTARTS = 7;
const DROP_IN = `/etc/systemd/system/${SOCKET_UNIT}.d/50-test.conf`;
const READYZ = [
  'curl',
  '-s',
  '--unix-socket',
  '/run/trousseau/admin.sock',
  'http://localhost/readyz',
];

/** Needs the service active, with a local keyring. */
export function socketUnit(under: UnderTest): void {
  it('the socket unit can be restarted more often in 10 s than systemd allows by default', async () => {
    const { machine } = under;
    for (let i = 0; i < RESTARTS; i += 1) await systemctl(machine, 'restart', SOCKET_UNIT);
    await answers(machine);
  });

  it('a removed path is said in /readyz and the journal, and a restart of the socket unit repairs it', async () => {
    const { machine } = under;
    await machine.must(['rm', SOCKET]);
    await waitUntil('the loss', READY_MS, async () => {
      return (await machine.must(READYZ)).includes('systemctl restart trousseau.socket');
    });
    await saysOfItself(machine, /^cannot be reached: the path/);
    const errors = [
      'journalctl',
      '--no-pager',
      '--output=cat',
      '--priority=err',
      `--unit=${SERVICE}`,
    ];
    assert.match(await machine.must(errors), /clients cannot reach this process by the socket/);
    await systemctl(machine, 'restart', SOCKET_UNIT);
    await answers(machine);
    assert.match(await machine.must(READYZ), /^\{"status":"ok"/);
  });

  it('a socket unit that fails is tried again with the service, until its group is there', async () => {
    const { machine } = under;
    await writeInside(machine, DROP_IN, '[Socket]\nSocketGroup=later\n', 0o644);
    await systemctl(machine, 'daemon-reload');
    await machine.run(['systemctl', 'restart', SOCKET_UNIT]);
    await waitUntil('a socket unit that has failed', READY_MS, async () => {
      return (await property(machine, SOCKET_UNIT, 'ActiveState')) === 'failed';
    });
    await machine.run(['systemctl', 'start', SERVICE]);
    await machine.must(['groupadd', 'later']);
    await waitUntil('both units by themselves', READY_MS, async () => {
      const states = [SOCKET_UNIT, SERVICE].map((unit) => property(machine, unit, 'ActiveState'));
      return (await Promise.all(states)).every((state) => state === 'active');
    });
    await answers(machine);
    await machine.must(['rm', DROP_IN]);
    await systemctl(machine, 'daemon-reload');
    await systemctl(machine, 'restart', SOCKET_UNIT);
    await answers(machine);
    assert.ok((await journal(machine, SOCKET_UNIT)).some((line) => /later/.test(line)));
  });
}

async function answers(machine: Machine): Promise<void> {
  await waitUntil('an answer on the socket', READY_MS, async () => {
    return (await withClient(machine, ({ v2 }) => v2.status())).healthz === 'ok';
  });
}
