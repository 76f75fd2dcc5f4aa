/**
 * Packages and a release for tests, from the executables in dist/bin: the real contents, compressed
 * fast. Made once, below build/, and shared by all tests of a run and of the runs after it.
 */
import { type ExecFileSyncOptions, execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { editionOf } from '../../scripts/packages/edition.ts';
import { missingTools, type Purpose } from '../../scripts/packages/tools.ts';
import { executable, ROOT } from './executable.ts';

const NODE = join(ROOT, 'node_modules/.bin/node');
const CACHE = join(ROOT, 'build/test-packages');
const KEPT_MS = 24 * 60 * 60_000;
const FAST = ['--compression', 'fast'];

/** All that a package is made of, beside the executables. */
const INPUTS = [
  '*.md',
  'LICENSE',
  'docs/**',
  'package.json',
  'package-lock.json',
  'packaging/**',
  'scripts/**',
  'src/cli/**',
  'systemd/**',
];

export type Packages = {
  readonly folder: string;
  /** The folder with the executables that are in them. */
  readonly binaries: string;
  file(kind: 'deb' | 'rpm', arch?: 'native' | 'foreign'): string;
};

/** All four packages, as `make packages` makes them, that say that they are of `version`. */
export function realPackages(version: string): Packages {
  const folder = cached(`packages-${version}`, keyOf(version), (out) => {
    build(version, join(ROOT, 'dist/bin'), out, FAST);
  });
  return packagesIn(folder, join(ROOT, 'dist/bin'), version);
}

export type Release = {
  /** What `make release` leaves: apt/, dnf/, packages, SHA256SUMS and the public key. */
  readonly folder: string;
  readonly packages: Packages;
};

/** The same packages as a release, signed by a key that was made for it and is gone. */
export function realRelease(version: string): Release {
  const packages = realPackages(version);
  const folder = cached(`release-${version}`, keyOf(version), (out) => {
    withKeyring(['test@trousseau.invalid'], (env) => {
      node(['scripts/release.ts', '--packages', packages.folder, '--out', out, '--uncommitted'], {
        env: {
          ...env,
          TROUSSEAU_PACKAGE_VERSION: version,
          TROUSSEAU_SIGNING_KEY: 'test@trousseau.invalid',
        },
      });
    });
  });
  return { folder, packages };
}

/** Runs `act` with a new GPG keyring that holds a key without a passphrase for each address. */
export function withKeyring<T>(
  addresses: readonly string[],
  act: (env: NodeJS.ProcessEnv) => T,
): T {
  // Short: gpg's agent listens on a socket below it.
  const home = mkdtempSync(join(tmpdir(), 'tr-'));
  const env = { ...process.env, GNUPGHOME: home };
  try {
    for (const address of addresses) makeKey(address, env);
    return act(env);
  } finally {
    spawnSync('gpgconf', ['--kill', 'gpg-agent'], { env });
    rmSync(home, { recursive: true, force: true });
  }
}

/** Without a passphrase, in the keyring that the environment names. */
export function makeKey(address: string, env: NodeJS.ProcessEnv): void {
  const quiet = ['--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', ''];
  const kind = [`Throw-away <${address}>`, 'rsa3072', 'sign', 'never'];
  execFileSync('gpg', [...quiet, '--quick-gen-key', ...kind], { env, stdio: 'ignore' });
}

/** What stands for the executable where a test wants another one: it says which version it is. */
export function standIn(version: string): string {
  return `#!/bin/sh\necho stand-in ${version}\n`;
}

/** All four packages of `version` around a stand-in, in a new folder below `parent`. */
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
  build(version, binaries, folder, []);
  return packagesIn(folder, binaries, version);
}

/** One of our scripts under the pinned Node, from the root of the tree. */
export function node(args: readonly string[], options: ExecFileSyncOptions = {}): string {
  return execFileSync(NODE, args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
    encoding: 'utf8',
  });
}

export type Said = { readonly status: number | null; readonly out: string; readonly err: string };

/** A program of the machine, however it ends; throws only where it cannot be run or is killed. */
export function ask(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Said {
  const ran = spawnSync(command, args, { encoding: 'utf8', env, maxBuffer: 16 * 1024 * 1024 });
  if (ran.error !== undefined) throw ran.error;
  if (ran.signal !== null) throw new Error(`${command} was ended by ${ran.signal}: ${ran.stderr}`);
  return { status: ran.status, out: ran.stdout, err: ran.stderr };
}

/** What it prints on both outputs; throws where it does not end with 0. */
export function said(command: string, args: readonly string[]): string {
  const { status, out, err } = ask(command, args);
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${out}${err}`);
  return out + err;
}

/** Throws where a tool is missing, of the package tests or of `more`: a test that is left out would pass. */
export function needTools(...more: readonly Purpose[]): void {
  const missing = missingTools('binary', 'packages', 'release', 'tests', ...more);
  if (missing !== undefined) throw new Error(missing);
  if (process.getuid?.() !== 0) throw new Error('the package tests need root');
}

function build(version: string, binaries: string, out: string, more: readonly string[]): void {
  node(['scripts/build-packages.ts', '--binaries', binaries, '--out', out, ...more], {
    env: { ...process.env, TROUSSEAU_PACKAGE_VERSION: version },
  });
}

function packagesIn(folder: string, binaries: string, version: string): Packages {
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

/**
 * The folder that `make` fills, made anew only where something that goes into it has changed. Somebody
 * else may make it at the same time, and what was made not long ago may be in use.
 */
function cached(name: string, key: string, make: (out: string) => void): string {
  const folder = join(CACHE, `${name}-${key}`);
  if (existsSync(folder)) return folder;
  mkdirSync(CACHE, { recursive: true });
  for (const old of readdirSync(CACHE).map((entry) => join(CACHE, entry))) {
    const made = statSync(old, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (made < Date.now() - KEPT_MS) rmSync(old, { recursive: true, force: true });
  }
  const partial = join(CACHE, `.${process.pid}-${name}`);
  make(partial);
  try {
    renameSync(partial, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
    rmSync(partial, { recursive: true, force: true });
  }
  return folder;
}

function keyOf(version: string): string {
  const hash = createHash('sha256').update(`${version} ${JSON.stringify(editionOf(process.env))}`);
  for (const file of (['x64', 'arm64'] as const).map(executable)) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${file} ${size} ${mtimeMs}`);
  }
  const inputs = INPUTS.flatMap((pattern) => globSync(pattern, { cwd: ROOT })).sort();
  for (const path of inputs) {
    const file = join(ROOT, path);
    if (statSync(file).isFile()) hash.update(path).update('\0').update(readFileSync(file));
  }
  return hash.digest('hex').slice(0, 16);
}
