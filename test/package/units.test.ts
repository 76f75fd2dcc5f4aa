import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createKmsClient, type KmsClient } from '../../src/kms/client.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { ATTEMPTS, makeAttempts } from './attempts.ts';
import { startCallers } from './callers.ts';
import {
  BUILT,
  configText,
  install,
  journal,
  MEMBER,
  property,
  SOCKET,
  STRANGER,
  writeConfig,
} from './installation.ts';
import { bootMachine, lacking, type Machine, type Suite } from './nspawn.ts';

const SERVICE = 'trousseau.service';
const PROGRAM = BUILT;
const BENCH = [PROGRAM.path, 'bench', '--socket', SOCKET, '--seconds', '1', '--concurrency', '1'];
const READY_MS = 20_000;
/** Of WatchdogSec= in the unit, and a start. */
const WATCHDOG_MS = 15_000;
const CALLERS = 64;
const HIGHEST_SCORE: Readonly<Record<Suite, number>> = { trixie: 1.0, bookworm: 1.2 };

const missing = lacking();
if (missing === undefined) {
  for (const suite of ['trixie', 'bookworm'] as const) declare(suite);
} else {
  process.stdout.write(`left out, all of the units under a real systemd: ${missing}\n`);
}

function declare(suite: Suite): void {
  describe(`the units in ${suite}`, () => {
    const dir = mkdtempSync(join(tmpdir(), 'trousseau-units-'));
    let machine: Machine;
    let client: KmsClient;
    const mainPid = (): Promise<string> => property(machine, SERVICE, 'MainPID');
    const systemctl = (...args: readonly string[]): Promise<string> =>
      machine.must(['systemctl', ...args]);

    // The shell's own: a minimal Debian has no other.
    const kill = async (signal: string): Promise<string> =>
      await machine.must(['sh', '-c', `kill -${signal} ${await mainPid()}`]);

    before(async () => {
      machine = await bootMachine(suite, join(dir, 'console.log'));
      await install(machine, PROGRAM);
      client = createKmsClient(join(machine.root, SOCKET));
    });
    after(async () => {
      client?.close();
      await machine?.[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    });

    it('are disabled until the administrator enables them', async () => {
      for (const unit of [SERVICE, 'trousseau.socket']) {
        await systemctl('preset', unit);
        assert.equal(await property(machine, unit, 'UnitFileState'), 'disabled');
      }
      const { err } = await machine.run(['systemd-analyze', 'verify', SERVICE]);
      assert.doesNotMatch(
        err.replace(/^.*(Unknown key.*OpenFile|\/trousseau\.conf).*$/gm, ''),
        /trousseau/,
      );
    });

    it(`expose at most ${HIGHEST_SCORE[suite]}`, async () => {
      const report = await machine.must(['systemd-analyze', 'security', '--no-pager', SERVICE]);
      const score = Number(/exposure level for \S+: ([\d.]+)/.exec(report)?.[1]);
      assert.ok(score <= HIGHEST_SCORE[suite], `${score}`);
    });

    it('come up with the first call, in a folder that only the group can enter', async () => {
      await systemctl('enable', '--now', 'trousseau.socket');
      const [folder, socket] = [join(machine.root, SOCKET, '..'), join(machine.root, SOCKET)];
      assert.equal(statSync(folder).mode & 0o7777, 0o750);
      assert.equal(statSync(socket).mode & 0o7777, 0o660);
      assert.equal(statSync(folder).gid, statSync(socket).gid);
      assert.equal(await property(machine, SERVICE, 'ActiveState'), 'inactive');
      assert.match((await client.v2.encrypt(Buffer.alloc(32, 1), 'first')).key_id, /^local:v1:/);
      assert.equal(await property(machine, SERVICE, 'SubState'), 'running');
    });

    it('serve who is in the group, and refuse everybody else', async () => {
      const { code, out } = await machine.run(BENCH, MEMBER);
      assert.equal(code, 0);
      assert.match(out, /encrypt {8}1 {2}through the plugin/);
      const refused = await machine.run(BENCH, STRANGER);
      assert.equal(refused.code, 1);
      assert.match(refused.err, /permission denied at \/run\/trousseau\/kms\.sock/);
    });

    it('are ready with their socket, and say in one sentence how they are', async () => {
      await systemctl('enable', '--now', SERVICE);
      assert.equal(await property(machine, SERVICE, 'ActiveState'), 'active');
      await waitUntil('the status', READY_MS, async () =>
        /^ready, encrypting with local:v1:/.test(await property(machine, SERVICE, 'StatusText')),
      );
      assert.ok(Number(await property(machine, SERVICE, 'WatchdogTimestampMonotonic')) > 0);
    });

    it('are ready without a provider, and say what is wrong', async () => {
      const broken = configText('info').replace('keyring.json', 'none.json');
      writeConfig(machine, broken);
      await systemctl('restart', SERVICE);
      assert.equal(await property(machine, SERVICE, 'ActiveState'), 'active');
      await waitUntil('the status', READY_MS, async () =>
        /none\.json/.test(await property(machine, SERVICE, 'StatusText')),
      );
      writeConfig(machine, configText('info'));
      await systemctl('reload', SERVICE);
      await waitUntil('the status', READY_MS, async () =>
        /^ready/.test(await property(machine, SERVICE, 'StatusText')),
      );
    });

    it('take a changed configuration at systemctl reload, in the same process', async () => {
      const pid = await mainPid();
      writeConfig(machine, configText('debug'));
      await systemctl('reload', SERVICE);
      await waitUntil('the new log level', READY_MS, async () => {
        await client.v2.status();
        return (await journal(machine, SERVICE)).some((line) => line.includes('"level":"debug"'));
      });
      assert.equal(await mainPid(), pid);
      assert.equal(await property(machine, SERVICE, 'ActiveState'), 'active');
      writeConfig(machine, configText('info'));
      await systemctl('reload', SERVICE);
    });

    it('are replaced by the watchdog where the process hangs', async () => {
      const pid = await mainPid();
      await kill('STOP');
      await waitUntil('another process', WATCHDOG_MS, async () => {
        return (
          (await mainPid()) !== pid &&
          (await property(machine, SERVICE, 'ActiveState')) === 'active'
        );
      });
      await waitUntil('a good Status', READY_MS, async () => {
        return (await client.v2.status()).healthz === 'ok';
      });
      const lines = await journal(machine, SERVICE);
      assert.ok(lines.some((line) => /Watchdog timeout/.test(line)));
    });

    it(`lose none of ${CALLERS} concurrent callers' calls when killed again and again`, async () => {
      await using callers = startCallers(join(machine.root, SOCKET), CALLERS);
      await callers.more(CALLERS * 4);
      for (let round = 1; round <= 3; round += 1) {
        await kill('KILL');
        await callers.more(CALLERS * 8);
      }
      const { lost, cutOff, answered } = await callers.stop();
      assert.deepEqual(lost, []);
      assert.ok(cutOff <= CALLERS * 3 && answered > CALLERS * 28, `${cutOff} of ${answered}`);
      assert.ok(Number(await property(machine, SERVICE, 'NRestarts')) >= 3);
    });

    it('keep what somebody who has taken the plugin over would try next from working', async () => {
      const seen = await makeAttempts(machine);
      const wrong = seen.filter(({ inside, outside }, i) => {
        const free = ATTEMPTS[i]?.freeOutside === true;
        return !/^E[A-Z]+$/.test(inside) || (outside === 'ok') !== free;
      });
      assert.deepEqual(wrong, []);
      assert.ok(seen.length >= 10);
    });

    it('stop cleanly, leave the socket, and have written a journal that can be read', async () => {
      await systemctl('stop', SERVICE);
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
    });
  });
}
