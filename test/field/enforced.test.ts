/**
 * What only a kernel of its own enforces: AppArmor, control groups with all their controllers, and secrets
 * that a TPM has sealed. The plugin is the installed package, Vault is on the other side of the network.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { sandboxed } from '../package/attempts.ts';
import {
  addUsers,
  CONFIG,
  kill,
  MEMBER,
  property,
  SERVICE,
  SOCKET_UNIT,
  systemctl,
  writeDropIn,
  writeInside,
} from '../package/installation.ts';
import type { Identity } from '../package/nspawn.ts';
import { commandsOf, typed } from '../package/offline-document.ts';
import { inOwnNamespaces } from '../package/own-namespaces.ts';
import { realRelease } from '../package/packages-built.ts';
import { needBuilt } from '../package/servers-built.ts';
import { CA, SECRET_ID, typeStep4 } from '../package/vault-of-node.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { callOnce, layCalls } from './vm/kubernetes-calls.ts';
import { nodeWithVault, prepareNodeWithVault, READY_MS, VERSION } from './vm/node-with-vault.ts';

const PACKAGES = [
  'apparmor',
  'apparmor-utils',
  'curl',
  'libtss2-esys-3.0.2-0t64',
  'libtss2-rc0t64',
];
const HANDOVER = '/var/lib/trousseau/announced-key.json';
const SEALED = '/etc/trousseau/secret-id.cred';
const SCRIPT = '/opt/greedy.pl';

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needBuilt(['kms-client-1.36']);
  prepareNodeWithVault({ packages: PACKAGES });
}

function lay(root: string): void {
  layCalls(root);
  mkdirSync(join(root, 'srv'), { recursive: true });
  cpSync(realRelease(VERSION).folder, join(root, 'srv/trousseau'), { recursive: true });
}

function declare(): void {
  describe('the package under a kernel that enforces', () => {
    const under = nodeWithVault({ distribution: { packages: PACKAGES }, lay });
    before(async () => {
      await under.machine.must(typed(commandsOf('## 3. Install')[0] ?? ''));
      await addUsers(under.machine);
      await typeStep4(under.machine, under.ofNode, READY_MS);
    });

    /** What the kernel has said of the profile, as docs/packages.md asks. */
    const said = async (verdict: 'ALLOWED' | 'DENIED'): Promise<string> => {
      const pattern = `apparmor="${verdict}".*profile="trousseau"`;
      return (await under.machine.run(['journalctl', '--dmesg', '--no-pager', '--grep', pattern]))
        .out;
    };
    /** The mode in which the plugin's own process is confined. */
    const confinement = async (): Promise<string> => {
      const pid = await property(under.machine, SERVICE, 'MainPID');
      return (await under.machine.must(['cat', `/proc/${pid}/attr/current`])).trim();
    };
    const calls = (as?: Identity): Promise<void> => callOnce(under.machine, as);

    const unitText = (): Promise<string> =>
      under.machine.must(['cat', `/usr/lib/systemd/system/${SERVICE}`]);
    /** What systemd says of the end of a script in the unit's sandbox. */
    const greedy = async (unit: string, script: string): Promise<string> => {
      await writeInside(under.machine, SCRIPT, script, 0o644);
      await writeInside(
        under.machine,
        '/etc/systemd/system/greedy.service',
        sandboxed(unit, SCRIPT),
        0o644,
      );
      await systemctl(under.machine, 'daemon-reload');
      await under.machine.run(['systemctl', 'start', 'greedy.service']);
      return property(under.machine, 'greedy.service', 'Result');
    };

    it('AppArmor only observes at first, and has nothing to say of what the plugin does', async () => {
      assert.equal(await confinement(), 'trousseau (complain)');
      await calls(MEMBER);
      await systemctl(under.machine, 'reload', SERVICE);
      assert.equal(await said('ALLOWED'), '-- No entries --\n');
    });

    it('AppArmor enforces it where it is told to, and denies the plugin nothing that it needs', async () => {
      await under.machine.must(['aa-enforce', '/etc/apparmor.d/trousseau']);
      await systemctl(under.machine, 'restart', SERVICE);
      assert.equal(await confinement(), 'trousseau (enforce)');
      await calls(MEMBER);
      await systemctl(under.machine, 'reload', SERVICE);
      await calls(MEMBER);
      assert.equal(await said('DENIED'), '-- No entries --\n');
    });

    it('AppArmor lets a proof pass, and lets it say what it has not proved', async () => {
      const mainPid = () => property(under.machine, SERVICE, 'MainPID');
      const restart = () => under.machine.run(['/usr/lib/trousseau/restart']);
      const first = await mainPid();
      const proved = await restart();
      assert.doesNotMatch(proved.err, /WARNING/);
      const second = await mainPid();
      assert.notEqual(second, first);
      await under.machine.must(['mv', CA, `${CA}.away`]);
      const refused = await restart();
      await under.machine.must(['mv', `${CA}.away`, CA]);
      assert.match(refused.err, /^trousseau: NOT PROVED: .*ca\.pem/m);
      assert.equal(await mainPid(), second);
      await under.machine.must(['test', '-s', HANDOVER]);
      assert.equal(await said('DENIED'), '-- No entries --\n');
    });

    it('AppArmor lets it bind sockets of its own, and put them in the place of stale ones', async () => {
      await systemctl(under.machine, 'mask', '--now', SOCKET_UNIT);
      await systemctl(under.machine, 'start', SERVICE);
      await calls();
      const killed = await property(under.machine, SERVICE, 'MainPID');
      await kill(under.machine, 'KILL');
      await waitUntil('another process', READY_MS, async () => {
        const pid = await property(under.machine, SERVICE, 'MainPID');
        return pid !== killed && pid !== '0';
      });
      await calls();
      await systemctl(under.machine, 'reload', SERVICE);
      assert.equal(await said('DENIED'), '-- No entries --\n');
      await systemctl(under.machine, 'stop', SERVICE);
      await systemctl(under.machine, 'unmask', SOCKET_UNIT);
      await systemctl(under.machine, 'start', SOCKET_UNIT, SERVICE);
    });

    it('AppArmor denies whoever runs under the profile what is not named in it', async () => {
      const asPlugin = (...argv: readonly string[]) =>
        under.machine.run(['aa-exec', '--profile=trousseau', '--', '/usr/bin/trousseau', ...argv]);
      const allowed = await asPlugin('config', 'check', CONFIG);
      assert.equal(allowed.code, 0, allowed.err);
      const denied = await asPlugin('config', 'check', '/etc/hostname');
      assert.notEqual(denied.code, 0);
      assert.match(await said('DENIED'), /name="\/etc\/hostname"/);
    });

    it('a secret id that the TPM has sealed logs in to Vault, also after a reboot', async () => {
      await under.machine.must(['systemd-creds', 'setup']);
      const seal = ['systemd-creds', 'encrypt', '--with-key=host+tpm2', '--name=secret-id'];
      await under.machine.must([...seal, SECRET_ID, SEALED]);
      await under.machine.must(['rm', SECRET_ID]);
      const identity = `roleID: ${under.ofNode.role.roleId}, secretIDFile: 'credential:secret-id'`;
      await writeInside(under.machine, CONFIG, under.ofNode.config(identity));
      await writeDropIn(under.machine, [`LoadCredentialEncrypted=secret-id:${SEALED}`]);
      await systemctl(under.machine, 'restart', SERVICE);
      await calls(MEMBER);
      await under.machine.reboot();
      assert.equal(await confinement(), 'trousseau (enforce)');
      await calls(MEMBER);
      const proved = await under.machine.run(['/usr/lib/trousseau/restart']);
      assert.doesNotMatch(proved.err, /WARNING/);
      await calls(MEMBER);
      assert.equal(await said('DENIED'), '-- No entries --\n');
    });

    it('no more memory than the unit gives is to be had', async () => {
      const unit = await unitText();
      const [, megabytes] = /^MemoryMax=(\d+)M$/m.exec(unit) ?? [];
      assert.equal(await greedy(unit, `my $x = 'x' x (${megabytes} << 20);`), 'oom-kill');
      assert.equal(await greedy(unit, `my $x = 'x' x (${megabytes} << 18);`), 'success');
    });

    it('no more tasks than the unit gives are to be had', async () => {
      const unit = await unitText();
      const tasks = Number(/^TasksMax=(\d+)$/m.exec(unit)?.[1]);
      assert.equal(await greedy(unit, forks(tasks)), 'exit-code');
      assert.equal(await greedy(unit, forks(tasks - 1)), 'success');
    });
  });
}

/** Ends with 1 where so many children, which stay until they are killed, are not to be had. */
function forks(children: number): string {
  return `my @p;
for (1..${children}) {
  my $p = fork;
  if (!defined $p) { kill 'KILL', @p; exit 1 }
  if ($p == 0) { sleep; exit }
  push @p, $p;
}
kill 'KILL', @p;`;
}
