/** Packages for tests: the real contents around a small stand-in for the executable. */
import { type ExecFileSyncOptions, execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NODE = 'node_modules/.bin/node';

export const BUILD_TOOLS = [
  'rpmbuild',
  'rpm',
  'dpkg-deb',
  'readelf',
  'checkmodule',
  'semodule_package',
];

/** Says before any test is declared what is left out; answers whether all of them are there. */
export function toolsThere(what: string, names: readonly string[]): boolean {
  const folders = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin', '/sbin');
  const missing = names.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  const root = process.getuid?.() === 0;
  if (missing.length === 0 && root) return true;
  const why = root ? `there is no ${missing.join(', ')}` : 'it needs root';
  process.stderr.write(`left out: ${what}; ${why} (docs/packages.md says what to install)\n`);
  return false;
}

export type Packages = {
  readonly folder: string;
  /** The folder with the stand-ins, to build again from. */
  readonly binaries: string;
  file(kind: 'deb' | 'rpm', arch?: 'native' | 'foreign'): string;
};

/** What stands for the executable: it says which version it is. */
export function standIn(version: string): string {
  return `#!/bin/sh\necho stand-in ${version}\n`;
}

/** All four packages of `version`, in a new folder below `parent`. */
export function buildPackages(
  parent: string,
  version: string,
  program = standIn(version),
): Packages {
  const binaries = join(parent, `bin-${version}`);
  const folder = join(parent, `packages-${version}`);
  mkdirSync(binaries, { recursive: true });
  for (const arch of ['x64', 'arm64']) {
    const path = join(binaries, `trousseau-linux-${arch}`);
    writeFileSync(path, program);
    chmodSync(path, 0o755);
  }
  node(['scripts/build-packages.ts', '--binaries', binaries, '--out', folder], {
    env: { ...process.env, TROUSSEAU_PACKAGE_VERSION: version },
  });
  const upstream = version.replace('-', '~');
  return {
    folder,
    binaries,
    file: (kind, arch = 'native') => {
      const native = (process.arch === 'x64') === (arch === 'native');
      return kind === 'deb'
        ? join(folder, `trousseau_${upstream}-1_${native ? 'amd64' : 'arm64'}.deb`)
        : join(folder, `trousseau-${upstream}-1.${native ? 'x86_64' : 'aarch64'}.rpm`);
    },
  };
}

/** One of our scripts under the pinned Node. */
export function node(args: readonly string[], options: ExecFileSyncOptions = {}): string {
  return execFileSync(NODE, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
    encoding: 'utf8',
  });
}

/** A program of the machine, with what it prints on both outputs, however it ends. */
export function said(command: string, args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout + stderr;
}

/** Its error output alone. */
export function complaints(command: string, args: readonly string[]): string {
  return spawnSync(command, args, { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 }).stderr;
}
