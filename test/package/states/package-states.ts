/** Brings a booted machine into a state, has a package manager act on it, and sees what came of it. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createKmsClient, type KmsClient } from '../../../src/kms/client.ts';
import type { EncryptResponse } from '../../../src/kms/codec/v2.ts';
import { waitUntil } from '../../servers/wait-until.ts';
import { needServers } from '../booted/cluster.ts';
import { NEWER_VERSION, OLD_VERSION } from '../booted/under-test.ts';
import {
  CONFIG,
  KEYRING,
  keyringConfig,
  PLUGIN,
  property,
  READY_MS,
  SERVICE,
  SOCKET,
  SOCKET_UNIT,
  systemctl,
  writeDropIn,
  writeInside,
} from '../installation.ts';
import { bootMachine, type Machine, machineTree, type Outcome } from '../nspawn.ts';
import { needTools, realPackages } from '../packages-built.ts';
import type { Suite } from '../trees.ts';
import { CA, ROLE_ID, SECRET_ID, startVaultOfNode, type VaultOfNode } from '../vault-of-node.ts';
import { dpkg, FOLDERS, type PackageManager, rpm } from './package-manager.ts';
import { fateOf, type Provider, runs, type State, titleOf } from './state.ts';

export type Variant = { readonly suite: Suite; readonly kind: 'deb' | 'rpm' };

const SEED = Buffer.alloc(32, 0x5e);
const CALL_MS = 10_000;
const KEPT_COPY = '/root/keyring.json';
/** What others have made, where a package may think it its own: path and mode. */
const OTHERS: Readonly<Record<string, number>> = {
  '/etc/trousseau/kek': 0o600,
  '/etc/trousseau/notes/keyring.json.gz': 0o600,
  '/var/lib/trousseau/ring.b64': 0o600,
  '/etc/systemd/system/trousseau.service.d/20-local.conf': 0o644,
};
const DROP_IN = '[Service]\n# of the administrator\n';

export function prepareStates(suite: Suite): void {
  needTools();
  needServers();
  machineTree(suite);
  for (const version of [OLD_VERSION, NEWER_VERSION]) realPackages(version);
}

/** Declares a test for each state; only inOwnNamespaces. */
export function packageStates({ suite, kind }: Variant, states: readonly State[]): void {
  describe(`the ${kind} in a booted ${suite}`, () => {
    const dir = mkdtempSync(join(tmpdir(), 'trousseau-'));
    const files = { old: realPackages(OLD_VERSION), newer: realPackages(NEWER_VERSION) };
    let node: Node | undefined;
    before(async () => {
      const folders = { [FOLDERS.old]: files.old.folder, [FOLDERS.newer]: files.newer.folder };
      const machine = await bootMachine({ suite, dir, folders });
      const ofNode = await startVaultOfNode(dir);
      const manager = kind === 'deb' ? dpkg(machine, files) : rpm(machine, files);
      node = { machine, ofNode, manager };
    });
    after(async () => {
      await node?.ofNode.vault.stop();
      await node?.machine[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    });
    for (const state of states) {
      it(titleOf(state), async () => {
        assert.ok(node !== undefined, 'the machine did not boot');
        await tryState(node, state);
      });
    }
  });
}

type Node = {
  readonly machine: Machine;
  readonly ofNode: VaultOfNode;
  readonly manager: PackageManager;
};

async function tryState(node: Node, state: State): Promise<void> {
  const { machine, manager } = node;
  const { unit, provider, action } = state;
  const from = action === 'downgrade' ? 'newer' : 'old';
  await reset(node);
  good(await manager.install(from));
  await configure(node, provider);
  await bringUnit(node, state);
  const stored = runs(unit) ? await encrypt(node, provider) : undefined;
  await spoil(node, state);
  const was = await seen(node);
  const acted = await act(manager, state);
  assert.equal(acted.code, 0, `${acted.out}${acted.err}`);
  const said = acted.out + acted.err;
  const is = await seen(node);
  switch (fateOf(state)) {
    case 'restarted':
      assert.notEqual(is.pid, was.pid, said);
      assert.equal(is.active, 'active', said);
      break;
    case 'kept':
      assert.deepEqual(is, was, said);
      assert.match(said, /trousseau\.service was NOT restarted/);
      break;
    case 'ended':
      assert.equal(is.pid, '0', said);
      break;
    case 'none':
      assert.equal(is.pid, '0', said);
      assert.doesNotMatch(said, /NOT restarted/);
  }
  if (action !== 'remove' && action !== 'purge') assert.equal(is.enabled, was.enabled, said);
  await assertOthers(node, state, said);
  if (stored === undefined || fateOf(state) === 'ended') return;
  // A keyring that is gone is still in memory; Vault has to be well again.
  if (provider.kind === 'vault') await repairVault(node);
  await waitUntil('what was stored is decrypted', READY_MS, async () => {
    const plaintext = await call(machine, ({ v2 }) => v2.decrypt({ ...stored, uid: 'read' }));
    return SEED.equals(Buffer.from(plaintext.plaintext));
  });
  assert.equal((await seen(node)).pid, is.pid, 'it is the same process still');
}

function act(manager: PackageManager, { action }: State): Promise<Outcome> {
  switch (action) {
    case 'upgrade':
      return manager.install('newer');
    case 'downgrade':
      return manager.install('old');
    case 'interrupted':
      return manager.interrupted('newer');
    case 'remove':
      return manager.remove();
    case 'purge':
      return manager.purge();
  }
}

/** As a node on which the package never was, but for its user and groups. */
async function reset({ machine, manager }: Node): Promise<void> {
  const script = `systemctl unmask --quiet ${SERVICE} ${SOCKET_UNIT} || :
systemctl stop ${SOCKET_UNIT} ${SERVICE} || :
systemctl reset-failed ${SOCKET_UNIT} ${SERVICE} || :
systemctl disable --quiet ${SOCKET_UNIT} ${SERVICE} || :`;
  await machine.must(['sh', '-c', `${script} 2>/dev/null`]);
  const installed = manager.name === 'deb' ? ['dpkg', '-s'] : ['rpm', '-q'];
  if ((await machine.run([...installed, 'trousseau'])).code === 0) good(await manager.purge());
  const folders = '/etc/trousseau /var/lib/trousseau /run/trousseau';
  const dropIns = '/etc/systemd/system/trousseau.service.d';
  await machine.must(['rm', '-rf', ...folders.split(' '), dropIns, KEPT_COPY]);
}

async function configure(node: Node, provider: Provider): Promise<void> {
  const { machine, ofNode } = node;
  if (provider.kind === 'vault') {
    await repairVault(node);
    const { roleId, secretId } = ofNode.role;
    const texts = {
      [CA]: readFileSync(ofNode.caFile, 'utf8'),
      [ROLE_ID]: roleId,
      [SECRET_ID]: secretId,
    };
    for (const [file, text] of Object.entries(texts)) {
      await writeInside(machine, file, text, 0o640);
      await machine.must(['chown', 'root:trousseau', file]);
    }
    const identity = `roleIDFile: ${ROLE_ID}, secretIDFile: ${SECRET_ID}`;
    await writeInside(machine, CONFIG, ofNode.config(identity));
  } else {
    const folder = ['install', '-d', '-m0700', `-o${PLUGIN.user}`, `-g${PLUGIN.group}`];
    await machine.must([...folder, '/var/lib/trousseau']);
    await machine.must(['trousseau', 'keyring', 'init', KEYRING], PLUGIN);
    await machine.must(['cp', '-a', KEYRING, KEPT_COPY]);
    if (provider.state === 'older') {
      await machine.must(['trousseau', 'keyring', 'rotate', KEYRING], PLUGIN);
    }
    await writeInside(machine, CONFIG, keyringConfig('info'));
  }
  for (const [file, mode] of Object.entries(OTHERS))
    await writeInside(machine, file, file.endsWith('.conf') ? DROP_IN : 'of somebody else', mode);
  await systemctl(machine, 'daemon-reload');
}

async function bringUnit({ machine }: Node, { unit }: State): Promise<void> {
  switch (unit) {
    case 'enabled':
      await systemctl(machine, 'enable', '--quiet', '--now', SOCKET_UNIT, SERVICE);
      return;
    case 'disabled':
      await systemctl(machine, 'start', SOCKET_UNIT, SERVICE);
      return;
    case 'masked':
      // A watchdog would end the process whose unit is masked: see docs/packages.md.
      await writeDropIn(machine, ['WatchdogSec=0']);
      await systemctl(machine, 'start', SOCKET_UNIT, SERVICE);
      await systemctl(machine, 'mask', '--quiet', SERVICE);
      return;
    case 'mask-unread':
    case 'socket-mask-unread': {
      await systemctl(machine, 'start', SOCKET_UNIT, SERVICE);
      const masked = unit === 'mask-unread' ? SERVICE : SOCKET_UNIT;
      await machine.must(['ln', '-s', '/dev/null', `/etc/systemd/system/${masked}`]);
      return;
    }
    case 'socket':
      await systemctl(machine, 'enable', '--quiet', '--now', SOCKET_UNIT);
      return;
    case 'stopped':
      await systemctl(machine, 'enable', '--quiet', SOCKET_UNIT, SERVICE);
      return;
    case 'failed': {
      const file = '/run/systemd/system/trousseau.service.d/fails.conf';
      await writeInside(machine, file, '[Service]\nRestart=no\nExecStartPre=/bin/false\n', 0o644);
      await systemctl(machine, 'daemon-reload');
      await machine.run(['systemctl', 'start', SERVICE]);
      await machine.must(['rm', file]);
      await systemctl(machine, 'daemon-reload');
      assert.equal(await property(machine, SERVICE, 'ActiveState'), 'failed');
    }
  }
}

async function encrypt({ machine }: Node, provider: Provider): Promise<EncryptResponse> {
  const stored = await call(machine, ({ v2 }) => v2.encrypt(SEED, 'stored'));
  const kind = provider.kind === 'vault' ? 'vault' : 'local';
  assert.match(stored.key_id, new RegExp(`^${kind}:v`));
  return stored;
}

async function spoil({ machine, ofNode }: Node, { config, provider }: State): Promise<void> {
  switch (provider.state) {
    case 'sealed':
      await ofNode.vault.seal();
      break;
    case 'away':
      await ofNode.vault.stop('kill');
      break;
    case 'refusing':
      await writeInside(machine, SECRET_ID, 'no-secret-id');
      break;
    case 'lost':
      await machine.must(['rm', KEYRING]);
      break;
    case 'replaced':
      await machine.must(['rm', KEYRING]);
      await machine.must(['trousseau', 'keyring', 'init', KEYRING], PLUGIN);
      break;
    case 'older':
      await machine.must(['cp', '-a', KEPT_COPY, KEYRING]);
      break;
    case 'well':
    case 'there':
  }
  if (config === 'broken') await writeInside(machine, CONFIG, 'apiVersion: none\n');
  if (config === 'absent') await machine.must(['rm', CONFIG]);
}

async function repairVault({ ofNode: { vault } }: Node): Promise<void> {
  await vault.start();
  const { status } = await vault.admin.request('GET', 'sys/health');
  if (status !== 200) await vault.unseal();
}

type Seen = {
  readonly pid: string;
  readonly active: string;
  readonly enabled: string;
  /** Whose messages of the watchdog systemd accepts: nobody's where it has loaded a mask. */
  readonly heard: string;
  /** Of the socket unit: systemd closes the socket where it has loaded a mask. */
  readonly socket: string;
};

async function seen({ machine }: Node): Promise<Seen> {
  const enabled = [SOCKET_UNIT, SERVICE].map((unit) => property(machine, unit, 'UnitFileState'));
  return {
    pid: await property(machine, SERVICE, 'MainPID'),
    active: await property(machine, SERVICE, 'ActiveState'),
    enabled: (await Promise.all(enabled)).join(' '),
    heard: await property(machine, SERVICE, 'NotifyAccess'),
    socket: await property(machine, SOCKET_UNIT, 'LoadState'),
  };
}

/** Nothing that somebody else has made is deleted, and a purge names it. */
async function assertOthers({ machine, manager }: Node, state: State, said: string): Promise<void> {
  const { provider, action } = state;
  const secret =
    provider.kind === 'vault' ? [SECRET_ID] : provider.state === 'lost' ? [] : [KEYRING];
  for (const file of [...Object.keys(OTHERS), ...secret]) {
    assert.equal((await machine.run(['test', '-f', file])).code, 0, `${file} is gone: ${said}`);
    if (action === 'purge' && manager.name === 'deb')
      assert.ok(said.includes(file), `${file} is not named: ${said}`);
  }
}

async function call<T>(machine: Machine, act: (client: KmsClient) => Promise<T>): Promise<T> {
  const client = createKmsClient(join(machine.root, SOCKET), CALL_MS);
  try {
    return await act(client);
  } finally {
    client.close();
  }
}

function good({ code, out, err }: Outcome): void {
  assert.equal(code, 0, out + err);
}
