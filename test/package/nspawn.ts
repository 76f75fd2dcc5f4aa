/**
 * A whole Debian with its own systemd, booted in a container: made once by mmdebstrap, kept outside
 * the tree, and booted with a layer of its own above it, so that nothing that a test does stays.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cacheFolder } from '../../scripts/test-servers/binaries.ts';
import { environment, logTail, startProcess } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';

/** Debian 13 has systemd 257, Debian 12 has 252, the oldest that is supported. */
export type Suite = 'trixie' | 'bookworm';

export type Outcome = { readonly code: number; readonly out: string; readonly err: string };

export type Machine = AsyncDisposable & {
  /** Its files as this machine sees them. */
  readonly root: string;
  /** Runs a program inside, as root unless named otherwise; rejects only where it cannot be run. */
  run(argv: readonly string[], as?: Identity): Promise<Outcome>;
  /** The same, and rejects where it does not end with 0; answers what it printed. */
  must(argv: readonly string[], as?: Identity): Promise<string>;
};

/** Names that are known inside. */
export type Identity = { readonly user: string; readonly group: string };

const PACKAGES = ['systemd', 'systemd-sysv', 'dbus'];
const BOOT_LIMIT_MS = 120_000;
const RUN_LIMIT_MS = 60_000;
const NEEDED = ['mmdebstrap', 'systemd-nspawn', 'nsenter', 'setpriv'];

/** What this machine lacks for booting another one, as a sentence; undefined where nothing. */
export function lacking(): string | undefined {
  if (process.platform !== 'linux') return 'containers with a systemd of their own need Linux';
  if (process.getuid?.() !== 0) return 'only root may boot a container';
  const folders = (process.env.PATH ?? '').split(delimiter);
  const missing = NEEDED.filter(
    (name) => !folders.some((folder) => existsSync(join(folder, name))),
  );
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  if (mirror() === undefined) return 'apt on this machine names no mirror of Debian';
  return undefined;
}

/** The mirror that this machine itself is installed from. */
function mirror(): string | undefined {
  const sources = ['/etc/apt/sources.list', ...globSync('/etc/apt/sources.list.d/*')]
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, 'utf8').replace(/^\s*#.*$/gm, ''))
    .join('\n');
  return /https?:\/\/\S+\/debian\/?(?=\s)/.exec(sources)?.[0];
}

/** The folder of a Debian tree, which takes half a minute to make where it is not there yet. */
function treeOf(suite: Suite): string {
  const tree = join(cacheFolder(), 'trees', `${suite}-${PACKAGES.join('+')}`);
  if (existsSync(tree)) return tree;
  const making = `${tree}.${process.pid}`;
  mkdirSync(join(cacheFolder(), 'trees'), { recursive: true });
  const args = ['--variant=minbase', `--include=${PACKAGES.join(',')}`, suite, making];
  try {
    execFileSync('mmdebstrap', ['--quiet', ...args, mirror() ?? ''], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: environment(),
      cwd: '/',
    });
    renameSync(making, tree);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    if (!existsSync(tree)) throw error; // somebody else may have made it meanwhile
  }
  return tree;
}

/** Boots; resolves when systemd inside has started everything. `logFile` gets its console. */
export async function bootMachine(suite: Suite, logFile: string): Promise<Machine> {
  const args = ['--quiet', '--boot', `--directory=${treeOf(suite)}`, '--volatile=overlay'];
  args.push(`--machine=trousseau-${suite}-${process.pid}`, '--private-network', '--register=no');
  args.push('--keep-unit', '--console=pipe', '--resolv-conf=off', '--timezone=off');
  const container = await startProcess({ program: 'systemd-nspawn', args, logFile });
  let leader: number | undefined;
  try {
    await waitUntil('the boot', BOOT_LIMIT_MS, async () => {
      if (!container.isRunning()) return true;
      leader = firstProcessOf(container.pid);
      if (leader === undefined) return false;
      const { out } = await enter(leader, ['systemctl', 'is-system-running']);
      return out.trim() === 'running';
    });
    if (leader === undefined || !container.isRunning()) throw new Error('it ended at once');
  } catch (cause) {
    await container.kill();
    throw new Error(`${suite} did not boot:\n${logTail(logFile)}`, { cause });
  }
  const first = leader;
  const run = (argv: readonly string[], as?: Identity): Promise<Outcome> =>
    enter(first, as === undefined ? argv : [...identityArgs(as), ...argv]);
  return {
    root: `/proc/${first}/root`,
    run,
    async must(argv, as) {
      const { code, out, err } = await run(argv, as);
      if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}: ${err}${out}`);
      return out;
    },
    [Symbol.asyncDispose]: container.stop,
  };
}

function identityArgs({ user, group }: Identity): readonly string[] {
  return ['setpriv', `--reuid=${user}`, `--regid=${group}`, '--clear-groups', '--'];
}

/** The container's process 1, as this machine numbers it. */
function firstProcessOf(nspawn: number): number | undefined {
  const children = readFileSync(`/proc/${nspawn}/task/${nspawn}/children`, 'utf8').split(' ');
  const first = children.map(Number).find((pid) => {
    if (pid === 0) return false;
    // nspawn has a child of its own on the way, in the same PID namespace as itself.
    return /^NSpid:\t\d+\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  });
  return first;
}

function enter(leader: number, argv: readonly string[]): Promise<Outcome> {
  const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net', '--root', '--wd'];
  const args = ['--target', String(leader), ...namespaces, '--', ...argv];
  const options = { env: environment(), timeout: RUN_LIMIT_MS };
  return new Promise((resolve, reject) => {
    execFile('nsenter', args, options, (error, out, err) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === 'number') resolve({ code, out, err });
      else reject(new Error(`${argv.join(' ')}: ${error?.message}`));
    });
  });
}
