/** A whole Debian with its own systemd, booted in a container above a tree of Debian. */
import { execFile } from 'node:child_process';
import { existsSync, globSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { logTail, type RunningProcess, startProcess } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { baseTree, layerAbove, type Suite } from './trees.ts';

export type Outcome = { readonly code: number; readonly out: string; readonly err: string };

/** A machine that one works on from this one. */
export type Shell = {
  /** Runs a program inside, as root unless named otherwise; rejects only where it cannot be run. */
  run(argv: readonly string[], as?: Identity): Promise<Outcome>;
  /** The same, and rejects where it does not end with 0; answers what it printed. */
  must(argv: readonly string[], as?: Identity): Promise<string>;
};

export type Machine = AsyncDisposable &
  Shell & {
    /** Its files as this machine sees them; another path after a reboot. */
    readonly root: string;
    /** Shuts it down in order and boots it again; what is on its disk stays. */
    reboot(): Promise<void>;
  };

/** Names that are known inside. */
export type Identity = {
  readonly user: string;
  readonly group: string;
  /** Beside `group`. */
  readonly more?: string;
};

export type BootOptions = {
  readonly suite: Suite;
  /** The test's own folder, for the console's log and the layer. */
  readonly dir: string;
  /** Folders of this machine that it sees, read-only: path there, path here. */
  readonly folders?: Readonly<Record<string, string>>;
};

/** What the trees of booted machines hold beside apt. */
const PACKAGES = ['curl', 'dbus', 'dnf', 'gnupg', 'passwd', 'rpm', 'systemd', 'systemd-sysv'];
const BOOT_LIMIT_MS = 120_000;
const SHUTDOWN_LIMIT_MS = 120_000;
const RUN_LIMIT_MS = 120_000;
const PATHS = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
/** What programs inside get. */
export const ENVIRONMENT = { ...PATHS, LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' };
const CONTROL_GROUPS = '/sys/fs/cgroup';

/** In a control group of its own; BPF is what IPAddressDeny= is made of. */
const START = `set -e
mkdir "$0"
echo $$ > "$0/cgroup.procs"
exec systemd-nspawn --quiet --boot --register=no --keep-unit --console=pipe \\
  --network-namespace-path=/proc/self/ns/net --resolv-conf=off --timezone=off \\
  --capability=CAP_BPF --system-call-filter=bpf "$@"`;

/** Made, if need be, where there is a network: before inOwnNamespaces lets tests run. */
export function machineTree(suite: Suite): string {
  return baseTree({ suite, packages: PACKAGES });
}

/** Boots; resolves when systemd inside has started everything. Only inOwnNamespaces. */
export async function bootMachine({ suite, dir, folders = {} }: BootOptions): Promise<Machine> {
  // Undone in reverse; what fails of it keeps nothing else from being undone, and hides no other failure.
  await using undo = new AsyncDisposableStack();
  const layer = undo.use(layerAbove(machineTree(suite), join(dir, 'layer')));
  const name = `trousseau-${suite}-${process.pid}`;
  const binds = Object.entries(folders).map(([inside, here]) => `--bind-ro=${here}:${inside}`);
  const args = [`--directory=${layer.root}`, `--machine=${name}`, ...binds];
  const group = join(CONTROL_GROUPS, name);
  const logFile = join(dir, 'console.log');
  undo.defer(() => removeGroup(group));
  let { container, first } = await start(group, args, logFile);
  undo.defer(() => container.stop());
  const run: Machine['run'] = (argv, as) =>
    enter(first, as === undefined ? argv : [...identityArgs(as), ...argv]);
  const stack = undo.move();
  return {
    get root() {
      return `/proc/${first}/root`;
    },
    ...shellOf(run),
    async reboot() {
      const { code, out, err } = await run(['systemctl', '--no-block', 'reboot']);
      if (code !== 0) throw new Error(`it does not reboot: ${err}${out}`);
      await waitUntil('the shutdown', SHUTDOWN_LIMIT_MS, () => !container.isRunning()).catch(
        (cause: unknown) => {
          throw new Error(`it did not shut down:\n${logTail(logFile)}`, { cause });
        },
      );
      removeGroup(group);
      ({ container, first } = await start(group, args, logFile));
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** A shell that can do all that follows from running programs. */
export function shellOf(run: Shell['run']): Shell {
  return {
    run,
    async must(argv, as) {
      const { code, out, err } = await run(argv, as);
      if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}: ${err}${out}`);
      return out;
    },
  };
}

type Running = { readonly container: RunningProcess; readonly first: number };

async function start(group: string, args: readonly string[], logFile: string): Promise<Running> {
  const container = await startProcess({
    program: '/bin/sh',
    args: ['-c', START, group, ...args],
    env: { SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
    logFile,
  });
  let first: number | undefined;
  try {
    await waitUntil('the boot', BOOT_LIMIT_MS, async () => {
      if (!container.isRunning()) return true;
      first = firstProcessOf(container.pid);
      if (first === undefined) return false;
      const { out } = await enter(first, ['systemctl', 'is-system-running']);
      if (out.trim() !== 'running') throw new Error(`systemd says that it is ${out.trim()}`);
      return true;
    });
    if (first === undefined || !container.isRunning()) throw new Error('it ended at once');
  } catch (cause) {
    await container.kill();
    throw new Error(`it did not boot:\n${logTail(logFile)}`, { cause });
  }
  return { container, first };
}

function removeGroup(group: string): void {
  const groups = globSync(`${group}/**/`).sort();
  for (const folder of groups.reverse()) rmdirSync(folder);
  if (existsSync(group)) rmdirSync(group);
}

/** In front of a program: to be run as somebody. */
export function identityArgs({ user, group, more }: Identity): readonly string[] {
  const groups = more === undefined ? '--clear-groups' : `--groups=${more}`;
  return ['setpriv', `--reuid=${user}`, `--regid=${group}`, groups, '--'];
}

/** The container's process 1, as this machine numbers it. */
function firstProcessOf(nspawn: number): number | undefined {
  const children = readFileSync(`/proc/${nspawn}/task/${nspawn}/children`, 'utf8').split(' ');
  return children.map(Number).find((pid) => {
    if (pid === 0) return false;
    // nspawn has a child of its own on the way, in the same PID namespace as itself.
    return /^NSpid:\t\d+\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  });
}

function enter(first: number, argv: readonly string[]): Promise<Outcome> {
  const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net', '--root', '--wd'];
  const args = ['--target', String(first), ...namespaces, '--', ...argv];
  const options = { env: ENVIRONMENT, timeout: RUN_LIMIT_MS, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((resolve, reject) => {
    execFile('nsenter', args, options, (error, out, err) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === 'number') resolve({ code, out, err });
      else reject(new Error(`${argv.join(' ')}: ${error?.message}`));
    });
  });
}
