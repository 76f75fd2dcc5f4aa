/** What happens to it when it hangs, is killed, and when the machine starts anew. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import type { EncryptResponse } from '../../../src/kms/codec/v2.ts';
import { waitUntil } from '../../servers/wait-until.ts';
import { startCallers } from '../callers.ts';
import {
  journal,
  kill,
  property,
  READY_MS,
  SERVICE,
  SOCKET,
  SOCKET_UNIT,
  systemctl,
  withClient,
  writeInside,
} from '../installation.ts';
import type { Machine } from '../nspawn.ts';
import type { UnderTest } from './under-test.ts';

/** Of WatchdogSec= in the unit, and a start. */
const WATCHDOG_MS = 25_000;
const CALLERS = 64;
/** systemd's own limit without StartLimitIntervalSec=0: five starts in ten seconds. */
const [LIMIT_STARTS, LIMIT_MS] = [5, 10_000];
export const SEED = Buffer.alloc(32, 0x5e);
/** Whoever starts kube-apiserver, or is where it may be started. */
const CALLERS_UNITS = ['kubelet', 'k3s', 'k3s-agent', 'rke2-server', 'rke2-agent'].map(
  (name) => `${name}.service`,
);

/** Needs the service active, with a local keyring. */
export function recovering(under: UnderTest): void {
  it('the watchdog replaces a process that hangs, within 25 s', async () => {
    const { machine } = under;
    const pid = await property(machine, SERVICE, 'MainPID');
    await kill(machine, 'STOP');
    await waitUntil('another process that answers', WATCHDOG_MS, async () => {
      if ((await property(machine, SERVICE, 'MainPID')) === pid) return false;
      if ((await property(machine, SERVICE, 'ActiveState')) !== 'active') return false;
      return (await withClient(machine, ({ v2 }) => v2.status())).healthz === 'ok';
    });
    const lines = await journal(machine, SERVICE);
    assert.ok(lines.some((line) => /Watchdog timeout/.test(line)));
  });

  it(`killed again and again under ${CALLERS} concurrent callers it loses no call`, async () => {
    const { machine } = under;
    const before = Number(await property(machine, SERVICE, 'NRestarts'));
    await using callers = startCallers(join(machine.root, SOCKET), CALLERS);
    await callers.more(CALLERS * 4);
    for (let round = 1; round <= 3; round += 1) {
      await kill(machine, 'KILL');
      await callers.more(CALLERS * 8);
    }
    const { lost, cutOff, answered } = await callers.stop();
    assert.deepEqual(lost, []);
    assert.ok(cutOff <= CALLERS * 3 && answered > CALLERS * 28, `${cutOff} of ${answered}`);
    assert.ok(Number(await property(machine, SERVICE, 'NRestarts')) >= before + 3);
  });

  it('killed more often in 10 s than systemd allows by default, it comes back each time', async () => {
    const { machine } = under;
    const times: number[] = [];
    for (let i = 0; i <= LIMIT_STARTS + 1; i += 1) {
      const pid = await property(machine, SERVICE, 'MainPID');
      await kill(machine, 'KILL');
      times.push(performance.now());
      await waitUntil('another process', READY_MS, async () => {
        const now = await property(machine, SERVICE, 'MainPID');
        return now !== pid && now !== '0';
      });
    }
    const span = (times[LIMIT_STARTS] ?? Number.NaN) - (times[0] ?? Number.NaN);
    assert.ok(span < LIMIT_MS, `${LIMIT_STARTS + 1} kills took ${span} ms: that proves nothing`);
    await waitUntil('an answer', READY_MS, async () => {
      return (await withClient(machine, ({ v2 }) => v2.status())).healthz === 'ok';
    });
    assert.equal(await property(machine, SERVICE, 'ActiveState'), 'active');
  });

  it('it starts where /var/lib is read-only, and where its folder there is a link', async () => {
    const { machine } = under;
    const folder = '/var/lib/trousseau';
    const starts = async (): Promise<void> => {
      await systemctl(machine, 'restart', SERVICE);
      await withClient(machine, ({ v2 }) => v2.encrypt(SEED, 'starts'));
    };
    await machine.must(['mount', '--bind', '-o', 'ro', '/var/lib', '/var/lib']);
    await starts();
    await machine.must(['umount', '/var/lib']);
    await machine.must(['sh', '-ec', `mv ${folder} /srv/keys && ln -s /srv/keys ${folder}`]);
    await starts();
    await machine.must(['sh', '-ec', `rm ${folder} && mv /srv/keys ${folder}`]);
    await starts();
  });

  it('it is ordered before whatever starts kube-apiserver', async () => {
    const { machine } = under;
    const stub = '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n';
    const install = '[Install]\nWantedBy=multi-user.target\n';
    for (const unit of CALLERS_UNITS)
      await writeInside(machine, `/etc/systemd/system/${unit}`, stub + install, 0o644);
    await systemctl(machine, 'daemon-reload');
    for (const unit of CALLERS_UNITS) {
      const after = (await property(machine, unit, 'After')).split(' ');
      assert.ok(after.includes(SERVICE), `${unit} comes after ${SERVICE}`);
      assert.ok(after.includes(SOCKET_UNIT), `${unit} comes after ${SOCKET_UNIT}`);
    }
    await systemctl(machine, 'enable', ...CALLERS_UNITS);
  });

  it('after a reboot it is up before them, and decrypts what was encrypted before', async () => {
    const { machine } = under;
    const sealed = await encrypt(machine);
    await machine.reboot();
    assert.equal(await property(machine, SOCKET_UNIT, 'ActiveState'), 'active');
    assert.equal(await property(machine, SERVICE, 'ActiveState'), 'active');
    assert.deepEqual(await decrypt(machine, sealed), SEED);
    const ready = Number(await property(machine, SERVICE, 'ActiveEnterTimestampMonotonic'));
    for (const unit of CALLERS_UNITS) {
      const started = await property(machine, unit, 'ExecMainStartTimestampMonotonic');
      assert.ok(ready > 0 && ready <= Number(started), `${unit}: ${started}, not after ${ready}`);
    }
  });
}

/** What a caller would store. */
export function encrypt(machine: Machine): Promise<EncryptResponse> {
  return withClient(machine, ({ v2 }) => v2.encrypt(SEED, 'stored'));
}

/** The plaintext of what was stored. */
export function decrypt(machine: Machine, stored: EncryptResponse): Promise<Buffer> {
  return withClient(machine, async ({ v2 }) =>
    Buffer.from((await v2.decrypt({ ...stored, uid: 'read' })).plaintext),
  );
}
