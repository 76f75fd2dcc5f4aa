/** Trousseau put into a booted machine as a package would, with a local keyring and both units. */
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Machine } from './nspawn.ts';

/** What starts the program inside, and what of this machine is copied there for it. */
export type Program = {
  readonly path: string;
  readonly files: readonly { readonly from: string; readonly to: string }[];
};

const ROOT = join(import.meta.dirname, '../..');
export const UNITS = join(ROOT, 'systemd');

/** Where a package puts each file of systemd/. */
const PLACES: Readonly<Record<string, string>> = {
  'trousseau.service': '/usr/lib/systemd/system/trousseau.service',
  'trousseau.socket': '/usr/lib/systemd/system/trousseau.socket',
  'trousseau.sysusers': '/usr/lib/sysusers.d/trousseau.conf',
  'trousseau.tmpfiles': '/usr/lib/tmpfiles.d/trousseau.conf',
  '50-trousseau.preset': '/usr/lib/systemd/system-preset/50-trousseau.preset',
};
const NOTIFY_MAIN = '/usr/lib/systemd/system/trousseau.service.d/10-notify-main.conf';
/** OpenFile= and with it 10-notify-main.conf. */
const FIRST_WITH_OPEN_FILE = 253;

/** The build of this tree, where the README has it put. */
export const BUILT: Program = {
  path: '/opt/trousseau/trousseau',
  files: [
    { from: join(ROOT, 'dist/trousseau'), to: '/opt/trousseau/trousseau' },
    { from: join(ROOT, 'dist/lib'), to: '/opt/trousseau/lib' },
  ],
};

export const CONFIG = '/etc/trousseau/config.yaml';
export const SOCKET = '/run/trousseau/kms.sock';
const KEYRING = '/var/lib/trousseau/keyring.json';

/** Also makes the users `member`, of the group that may connect, and `stranger`. */
export const PLUGIN = { user: 'trousseau', group: 'trousseau' };
export const MEMBER = { user: 'member', group: 'trousseau-kms' };
export const STRANGER = { user: 'stranger', group: 'stranger' };

/** The configuration of the tests, at some log level. */
export function configText(level: string): string {
  return `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
log: {level: ${level}}
providers:
  - name: here
    local: {keyringFile: ${KEYRING}}
`;
}

/** Installs everything and starts nothing. */
export async function install(machine: Machine, program: Program): Promise<void> {
  const within = (path: string): string => join(machine.root, path);
  for (const { from, to } of program.files) {
    mkdirSync(dirname(within(to)), { recursive: true });
    cpSync(from, within(to), { recursive: true });
  }
  for (const [name, place] of Object.entries(PLACES)) {
    mkdirSync(dirname(within(place)), { recursive: true });
    cpSync(join(UNITS, name), within(place));
  }
  if ((await systemdVersion(machine)) >= FIRST_WITH_OPEN_FILE) {
    mkdirSync(dirname(within(NOTIFY_MAIN)), { recursive: true });
    cpSync(join(UNITS, '10-notify-main.conf'), within(NOTIFY_MAIN));
  }
  if (program.path !== '/usr/bin/trousseau') {
    writeDropIn(machine, 'trousseau.service', [
      'ExecStart=',
      `ExecStart=${program.path} serve --config ${CONFIG}`,
    ]);
  }
  const user = ['useradd', '--no-create-home', '--shell=/usr/sbin/nologin'];
  await machine.must(['systemd-sysusers', 'trousseau.conf']);
  await machine.must([...user, `--gid=${MEMBER.group}`, MEMBER.user]);
  await machine.must([...user, '--user-group', STRANGER.user]);
  await machine.must(['systemd-tmpfiles', '--create', 'trousseau.conf']);
  await machine.must(['install', '-d', '-m0750', '-oroot', '-gtrousseau', '/etc/trousseau']);
  await machine.must([
    'install',
    '-d',
    '-m0700',
    '-otrousseau',
    '-gtrousseau-kms',
    dirname(KEYRING),
  ]);
  writeConfig(machine, configText('info'));
  await machine.must([program.path, 'keyring', 'init', KEYRING], PLUGIN);
  await machine.must(['systemctl', 'daemon-reload']);
}

/** Replaces the configuration inside; readable as a package makes it. */
export function writeConfig(machine: Machine, text: string): void {
  const file = join(machine.root, CONFIG);
  writeFileSync(file, text);
  chmodSync(file, 0o644); // its folder is closed to others
}

/** Lines for [Service], read by systemd after the next daemon-reload. */
export function writeDropIn(machine: Machine, unit: string, lines: readonly string[]): void {
  const folder = join(machine.root, `/etc/systemd/system/${unit}.d`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, '50-test.conf'), `[Service]\n${lines.join('\n')}\n`);
}

/** The number that systemd names itself by. */
export async function systemdVersion(machine: Machine): Promise<number> {
  return Number(/^systemd (\d+)/.exec(await machine.must(['systemctl', '--version']))?.[1]);
}

/** One property of a unit, as `systemctl show` prints it. */
export async function property(machine: Machine, unit: string, name: string): Promise<string> {
  return (await machine.must(['systemctl', 'show', '--value', `--property=${name}`, unit])).trim();
}

/** The journal of a unit since the boot, oldest line first. */
export async function journal(machine: Machine, unit: string): Promise<readonly string[]> {
  const text = await machine.must(['journalctl', '--no-pager', '--output=cat', `--unit=${unit}`]);
  return text.split('\n').filter((line) => line !== '');
}

/** The text of a file in systemd/. */
export function unitText(name: string): string {
  return readFileSync(join(UNITS, name), 'utf8');
}
