/** The programs that packing, releasing and their tests call, each with Debian's package that brings it. */
import { type ExecFileSyncOptions, execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';

/** By what they are for; a name that begins with a slash is a file. The one list there is. */
export const TOOLS = {
  /** `make binary`: what runs arm64's Node on an x64 machine, for its code cache. */
  binary: {
    'qemu-aarch64-static': 'qemu-user-static',
    '/usr/aarch64-linux-gnu/lib/libstdc++.so.6': 'libstdc++6-arm64-cross',
  },
  /** `make packages` */
  packages: {
    git: 'git',
    rpmbuild: 'rpm',
    'dpkg-deb': 'dpkg',
    readelf: 'binutils',
    checkmodule: 'checkpolicy',
    semodule_package: 'semodule-utils',
  },
  /** `make release` and `make verify-release` */
  release: {
    gpg: 'gnupg',
    rpmsign: 'rpm',
    rpmkeys: 'rpm',
    createrepo_c: 'createrepo-c',
    'apt-ftparchive': 'apt-utils',
  },
  /** The package tests alone. */
  tests: {
    rpm: 'rpm',
    lintian: 'lintian',
    rpmlint: 'rpmlint',
    apparmor_parser: 'apparmor',
    strace: 'strace',
    man: 'man-db',
    mandoc: 'mandoc',
    zsh: 'zsh',
    fish: 'fish',
    faketime: 'faketime',
    sesearch: 'setools',
    mmdebstrap: 'mmdebstrap',
    '/usr/share/keyrings/debian-archive-keyring.gpg': 'debian-archive-keyring',
    'systemd-nspawn': 'systemd-container',
    ip: 'iproute2',
    nsenter: 'util-linux',
    setpriv: 'util-linux',
    unshare: 'util-linux',
    mount: 'mount',
    chroot: 'coreutils',
  },
  /** `make test-field`, beside those of the package tests. */
  field: {
    'qemu-system-x86_64': 'qemu-system-x86',
    swtpm: 'swtpm',
    mke2fs: 'e2fsprogs',
    // k3s, which the tests build, has parts in C.
    gcc: 'gcc',
    '/usr/lib/x86_64-linux-gnu/libc.a': 'libc6-dev',
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, string>>>>;

export type Purpose = keyof typeof TOOLS;

/** Where it is, looked for as a shell would, and where administrators' programs are. */
export function pathOf(name: string): string | undefined {
  if (isAbsolute(name)) return existsSync(name) ? name : undefined;
  const folders = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin', '/sbin');
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

export type Missing = {
  readonly tools: readonly string[];
  /** Of Debian, sorted, each once. */
  readonly packages: readonly string[];
};

/** What this machine lacks for these purposes. */
export function missingFor(...purposes: readonly Purpose[]): Missing {
  const missing = purposes
    .flatMap((purpose) => Object.entries<string>(TOOLS[purpose]))
    .filter(([tool]) => pathOf(tool) === undefined);
  return {
    tools: missing.map(([tool]) => tool),
    packages: [...new Set(missing.map(([, from]) => from))].sort(),
  };
}

/** One sentence with what to install, where something is missing. */
export function missingTools(...purposes: readonly Purpose[]): string | undefined {
  const { tools, packages } = missingFor(...purposes);
  if (tools.length === 0) return undefined;
  return `missing: ${tools.join(', ')}; on Debian: ${installCommand(packages)}`;
}

/** As root would type it. */
export function installCommand(packages: readonly string[]): string {
  return `apt-get update && apt-get install -y --no-install-recommends ${packages.join(' ')}`;
}

/** What it prints; its error output stays out of the way unless it fails. */
export function run(
  command: string,
  args: readonly string[],
  options: ExecFileSyncOptions = {},
): string {
  return execFileSync(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 1024 * 1024,
    ...options,
    encoding: 'utf8',
  });
}

/** The same for what takes long, so that two of them can share two processors. */
export async function runLong(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  await promisify(execFile)(command, [...args], { env, maxBuffer: 64 * 1024 * 1024 });
}
