/** What an administrator has and does on a booted machine: users, configuration, units, apt. */
import { join } from 'node:path';
import { createKmsClient, type KmsClient } from '../../src/kms/client.ts';
import { waitUntil } from '../servers/wait-until.ts';
import type { Identity, Machine, Shell } from './nspawn.ts';

export const SERVICE = 'trousseau.service';
export const SOCKET_UNIT = 'trousseau.socket';
export const CONFIG = '/etc/trousseau/config.yaml';
export const SOCKET = '/run/trousseau/kms.sock';
export const KEYRING = '/var/lib/trousseau/keyring.json';
export const READY_MS = 20_000;

/** As trousseau.service runs. */
export const PLUGIN: Identity = { user: 'trousseau', group: 'trousseau-kms', more: 'trousseau' };
/** Of the group that may connect. */
export const MEMBER: Identity = { user: 'member', group: 'trousseau-kms' };
export const STRANGER: Identity = { user: 'stranger', group: 'stranger' };

/** A configuration of the tests with a local keyring, at some log level. */
export function keyringConfig(level: string): string {
  return `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
log: {level: ${level}}
providers:
  - name: here
    local: {keyringFile: ${KEYRING}}
`;
}

/** Replaces the configuration inside; owner and mode stay as the package made them. */
export function writeConfig(machine: Shell, text: string): Promise<void> {
  return writeInside(machine, CONFIG, text);
}

/** Makes `member` and `stranger`, once the package has made the group; `member` has a home. */
export async function addUsers(machine: Shell): Promise<void> {
  const user = ['useradd', '--shell=/usr/sbin/nologin'];
  await machine.must([...user, '--create-home', `--gid=${MEMBER.group}`, MEMBER.user]);
  await machine.must([...user, '--no-create-home', '--user-group', STRANGER.user]);
}

/** Configures a new local keyring, owned as the plugin would have made it. */
export async function configureKeyring(machine: Shell): Promise<void> {
  const folder = ['install', '-d', '-m0700', `-o${PLUGIN.user}`, `-g${PLUGIN.group}`];
  await machine.must([...folder, '/var/lib/trousseau']);
  await machine.must(['trousseau', 'keyring', 'init', KEYRING], PLUGIN);
  await writeConfig(machine, keyringConfig('info'));
}

/** Lines for [Service], read by systemd before this resolves. */
export async function writeDropIn(machine: Shell, lines: readonly string[]): Promise<void> {
  const file = `/etc/systemd/system/${SERVICE}.d/50-test.conf`;
  await writeInside(machine, file, `[Service]\n${lines.join('\n')}\n`, 0o644);
  await machine.must(['systemctl', 'daemon-reload']);
}

/** `systemctl`, and what it prints. */
export async function systemctl(machine: Shell, ...args: readonly string[]): Promise<string> {
  return (await machine.must(['systemctl', ...args])).trim();
}

/** One property of a unit, as `systemctl show` prints it. */
export function property(machine: Shell, unit: string, name: string): Promise<string> {
  return systemctl(machine, 'show', '--value', `--property=${name}`, unit);
}

/** Sends the service's main process a signal; the shell's own kill, since a minimal Debian has no other. */
export async function kill(machine: Shell, signal: string): Promise<void> {
  const pid = await property(machine, SERVICE, 'MainPID');
  await machine.must(['sh', '-c', `kill -${signal} ${pid}`]);
}

/** The journal of a unit since the boot, oldest line first, with all that was written until now. */
export async function journal(machine: Shell, unit: string): Promise<readonly string[]> {
  await machine.must(['journalctl', '--sync']);
  const text = await machine.must(['journalctl', '--no-pager', '--output=cat', `--unit=${unit}`]);
  return text.split('\n').filter((line) => line !== '');
}

/** Resolves when `systemctl status` shows such a sentence. */
export function saysOfItself(machine: Shell, sentence: RegExp, limitMs = READY_MS): Promise<void> {
  return waitUntil(`the status ${sentence}`, limitMs, async () => {
    const text = await property(machine, SERVICE, 'StatusText');
    if (!sentence.test(text)) throw new Error(text);
    return true;
  });
}

/** Calls the plugin's socket from this machine, as root. */
export async function withClient<T>(
  machine: Machine,
  act: (client: KmsClient) => Promise<T>,
): Promise<T> {
  const client = createKmsClient(join(machine.root, SOCKET), READY_MS);
  try {
    return await act(client);
  } finally {
    client.close();
  }
}

/** As `640 root:trousseau`, by the names inside. */
export async function owned(machine: Shell, path: string): Promise<string> {
  return (await machine.must(['stat', '--format=%a %U:%G', path])).trim();
}

/** A file of root's where there was none; without a mode, what is there keeps its own and its owner. */
export async function writeInside(
  machine: Shell,
  path: string,
  text: string,
  mode?: number,
): Promise<void> {
  const script = `mkdir -p "\${0%/*}" && (umask 077 && printf %s "$1" >"$0")`;
  await machine.must(['sh', '-c', script, path, text]);
  if (mode !== undefined) await machine.must(['chmod', mode.toString(8), path]);
}
