/**
 * Trees of Debian: each made once by mmdebstrap, kept outside the checkout, and never written to
 * again. Tests work in a layer above one, which is in memory and goes with its mount.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../scripts/test-servers/binaries.ts';
import { environment } from '../servers/process.ts';
import { registerArm64 } from './arm64-programs.ts';
import { mirror } from './mirror.ts';
import { needTools } from './packages-built.ts';

/** Debian 13 has systemd 257, Debian 12 has 252, the oldest that is supported. */
export type Suite = 'trixie' | 'bookworm';

export type TreeKind = {
  readonly suite: Suite;
  /** Beside what apt itself needs. */
  readonly packages: readonly string[];
  /** `standard` adds what Debian's installer puts on every machine; default: no more than apt needs. */
  readonly extent?: 'standard';
  /** Debian's name; default: this machine's. */
  readonly architecture?: 'arm64';
};

/** The folder of a tree. It takes a quarter of a minute to make, minutes on an emulated processor. */
export function baseTree(kind: TreeKind): string {
  const { suite, packages, extent, architecture } = kind;
  const folder = join(cacheFolder(), 'trees');
  const names = [suite, extent, architecture, ...[...packages].sort()];
  const tree = join(folder, names.filter((name) => name !== undefined).join('+'));
  if (existsSync(tree)) return tree;
  needTools();
  mkdirSync(folder, { recursive: true });
  removePartialTrees(folder);
  const partial = `${tree}.partial-${process.pid}`;
  const foreign = architecture === undefined ? undefined : registerArm64();
  try {
    make(partial, kind);
    renameSync(partial, tree);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(tree)) throw error; // somebody else may have made it meanwhile
  } finally {
    foreign?.[Symbol.dispose]();
  }
  return tree;
}

/** A folder with the tree's files in it, where what is written stays in memory. */
export function layerAbove(tree: string, dir: string): Disposable & { readonly root: string } {
  const [upper, work, root] = ['upper', 'work', 'root'].map((name) => join(dir, name));
  if (upper === undefined || work === undefined || root === undefined) throw new Error(dir);
  mkdirSync(dir, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', dir]);
  for (const folder of [upper, work, root]) mkdirSync(folder);
  const options = `lowerdir=${tree},upperdir=${upper},workdir=${work}`;
  execFileSync('mount', ['-t', 'overlay', '-o', options, 'overlay', root]);
  return {
    root,
    [Symbol.dispose]() {
      execFileSync('umount', ['--recursive', '--lazy', dir]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function make(folder: string, kind: TreeKind): void {
  const { suite, packages, extent = 'apt', architecture } = kind;
  const include = `--include=${packages.join(',')}`;
  const foreign =
    architecture === undefined ? [] : [`--architecture=${architecture}`, '--skip=check/qemu'];
  const args = ['--quiet', `--variant=${extent}`, ...foreign, include, suite, folder, mirror()];
  execFileSync('mmdebstrap', args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: environment(proxies()),
    cwd: '/',
  });
}

/** Of the environment, in both of their spellings: where there is no other way to a mirror. */
function proxies(): Readonly<Record<string, string>> {
  const names = ['http_proxy', 'https_proxy', 'no_proxy'].flatMap((name) => [
    name,
    name.toUpperCase(),
  ]);
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

/** Those of makers that have died. */
function removePartialTrees(folder: string): void {
  for (const partial of globSync(join(folder, '*.partial-*'))) {
    const maker = partial.slice(partial.lastIndexOf('-') + 1);
    if (!existsSync(`/proc/${maker}`)) rmSync(partial, { recursive: true, force: true });
  }
}
