/** The programs that packing and releasing call, each with Debian's package that brings it. */
import { type ExecFileSyncOptions, execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const FROM: Readonly<Record<string, string>> = {
  rpmbuild: 'rpm',
  rpmsign: 'rpm',
  rpmkeys: 'rpm',
  'dpkg-deb': 'dpkg',
  readelf: 'binutils',
  checkmodule: 'checkpolicy',
  semodule_package: 'semodule-utils',
  createrepo_c: 'createrepo-c',
  'apt-ftparchive': 'apt-utils',
  gpg: 'gnupg',
  gpgv: 'gpgv',
};

/** Where it is, looked for as a shell would, and where administrators' programs are. */
export function pathOf(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin', '/sbin');
  return folders
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

/** One sentence with what to install, where something is missing. */
export function missingTools(names: readonly string[]): string | undefined {
  const missing = names.filter((name) => pathOf(name) === undefined);
  if (missing.length === 0) return undefined;
  const packages = [...new Set(missing.map((name) => FROM[name] ?? name))].join(' ');
  return `missing: ${missing.join(', ')}; on Debian: apt-get install ${packages}`;
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
