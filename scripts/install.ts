/**
 * `install.ts [remove]`, as root: what the packages install, without a package manager, around the program
 * of `make build`. The scripts of the Debian package make the user, the folders and the configuration, and
 * restart a service that runs once a new process has proved that it can take over.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { profileForFolder } from './packages/apparmor.ts';
import { commonContents, plain } from './packages/contents.ts';
import { editionOf } from './packages/edition.ts';
import type { Entry } from './packages/stage.ts';

const COMMAND = '/usr/bin/trousseau';
const FOLDER = '/opt/trousseau';
const PROGRAM = `${FOLDER}/trousseau`;
const PROFILE = '/etc/apparmor.d/trousseau';
const SHIPPED_PROFILE = '/usr/lib/trousseau/apparmor-profile';

// As package managers have it: what root's shell keeps to itself, the service must be able to run and read.
process.umask(0o022);
const owner = packageThatOwns();
if (process.getuid?.() !== 0) fail('it installs below /opt, /usr and /etc: run it as root');
else if (owner !== undefined) fail(`${COMMAND} is of a package: remove it first (${owner})`);
else if (process.argv[2] === 'remove') remove(await entries());
else install([...(await entries()), ...runtime()]);

async function entries(): Promise<readonly Entry[]> {
  const common = await commonContents('dist/trousseau', editionOf(process.env));
  return [
    ...common.filter(({ path }) => path !== COMMAND),
    plain('/usr/lib/trousseau/config.yaml', { from: 'packaging/config.yaml' }),
    plain(SHIPPED_PROFILE, {
      bytes: profileForFolder(readFileSync('packaging/apparmor/trousseau', 'utf8'), FOLDER),
    }),
    plain('/usr/lib/systemd/system/trousseau.service.d/10-apparmor.conf', {
      from: 'packaging/apparmor/10-apparmor.conf',
    }),
    { path: PROGRAM, mode: 0o755, content: { from: 'dist/trousseau' } },
  ];
}

/** What `make build` leaves beside the program; a removal needs no build. */
function runtime(): readonly Entry[] {
  return readdirSync('dist/lib').map((name) => ({
    path: `${FOLDER}/lib/${name}`,
    mode: name === 'node' ? 0o755 : 0o644,
    content: { from: `dist/lib/${name}` },
  }));
}

function install(files: readonly Entry[]): void {
  const before = existsSync(COMMAND) ? ['before'] : [];
  script('preinst', 'install');
  for (const { path, mode, content } of files) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    // In one step: the program may be running.
    const next = `${path}.new`;
    if ('from' in content) copyFileSync(content.from, next);
    else writeFileSync(next, content.bytes);
    chmodSync(next, mode);
    renameSync(next, path);
  }
  rmSync(COMMAND, { force: true });
  symlinkSync(PROGRAM, COMMAND);
  script('postinst', 'configure', ...before);
  process.stdout.write(
    'installed. Next: edit /etc/trousseau/config.yaml, then systemctl enable --now trousseau.socket trousseau.service\n',
  );
}

function remove(files: readonly Entry[]): void {
  script('prerm', 'remove');
  const edited = isEdited(PROFILE, SHIPPED_PROFILE);
  for (const path of [COMMAND, ...files.map((file) => file.path)]) rmSync(path, { force: true });
  rmSync(`${FOLDER}/lib`, { recursive: true, force: true });
  script('postrm', 'remove');
  if (!edited) rmSync(PROFILE, { force: true });
  const folders = new Set(files.flatMap(({ path }) => foldersOf(path)));
  // The deepest first; what is not empty is not ours alone.
  for (const folder of [...folders].sort().reverse()) {
    if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
  }
  const kept = edited ? `, and so does ${PROFILE}, which was edited` : '';
  process.stdout.write(`removed; what is in /etc/trousseau and /var/lib/trousseau stays${kept}\n`);
}

/** The folders above a file that nobody but this program has. */
function foldersOf(path: string): readonly string[] {
  const above = dirname(path);
  return /trousseau/.test(above) ? [above, ...foldersOf(above)] : [];
}

function isEdited(file: string, shipped: string): boolean {
  if (!existsSync(file)) return false;
  return !existsSync(shipped) || !readFileSync(file).equals(readFileSync(shipped));
}

function script(name: string, ...args: readonly string[]): void {
  const { status } = spawnSync('/bin/sh', [`packaging/deb/${name}`, ...args], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`packaging/deb/${name} ended with ${status}`);
}

/** Two owners of the same files would undo each other's work. */
function packageThatOwns(): string | undefined {
  for (const [command, ...args] of [
    ['dpkg-query', '--search', COMMAND],
    ['rpm', '-qf', COMMAND],
  ] as const) {
    const { status } = spawnSync(command, args, { stdio: 'ignore' });
    if (status === 0) return command;
  }
  return undefined;
}

function fail(why: string): void {
  process.stderr.write(`${why}\n`);
  process.exitCode = 1;
}
