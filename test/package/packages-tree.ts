/** Debian trees for tests: made once with mmdebstrap, copied for each test, entered with chroot. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';

export const TREE_TOOLS = ['mmdebstrap', 'chroot', 'unshare'];

const SUITE = 'trixie';
const CACHE = join(
  process.env['TROUSSEAU_TEST_CACHE'] ?? join(homedir(), '.cache/trousseau-test'),
  'trees',
);

export type Tree = {
  readonly root: string;
  /** Its files, by their paths inside. */
  path(inside: string): string;
  /** Copies a file of the host into it and answers its path there. */
  bring(file: string): string;
  run(command: string, ...args: readonly string[]): Ran;
};

export type Ran = { readonly status: number | null; readonly output: string };

/** A copy of a tree with `packages` in it, gone with the test. */
export function debianTree(t: TestContext, name: string, packages: readonly string[]): Tree {
  const root = join(CACHE, `test-${process.pid}-${name}`);
  rmSync(root, { recursive: true, force: true });
  execFileSync('cp', ['--archive', '--reflink=auto', baseTree(packages), root]);
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return {
    root,
    path: (inside) => join(root, inside),
    bring: (file) => {
      copyFileSync(file, join(root, 'root', basename(file)));
      return `/root/${basename(file)}`;
    },
    run: (command, ...args) => enter(root, command, args),
  };
}

/** With a /proc of its own, in a mount namespace that leaves nothing behind. */
function enter(root: string, command: string, args: readonly string[]): Ran {
  const script =
    'mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@" 2>&1';
  const ran = spawnSync('unshare', ['--mount', '/bin/sh', '-c', script, root, command, ...args], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
  });
  return { status: ran.status, output: ran.stdout };
}

function baseTree(packages: readonly string[]): string {
  const base = join(CACHE, `${SUITE}-${[...packages].sort().join('-')}`);
  if (existsSync(base)) return base;
  mkdirSync(CACHE, { recursive: true });
  const partial = `${base}.${process.pid}`;
  const include = `--include=${packages.join(',')}`;
  execFileSync('mmdebstrap', ['--quiet', '--variant=apt', include, SUITE, partial, mirror()], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  renameSync(partial, base);
  return base;
}

/** That of this machine's own sources, in either of their two forms. */
function mirror(): string {
  const files = globSync('/etc/apt/{sources.list,sources.list.d/*}').sort();
  for (const file of files) {
    const found = /^(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s+)?)(\S+)/m.exec(
      readFileSync(file, 'utf8'),
    )?.[1];
    if (found !== undefined) return found;
  }
  throw new Error('apt has no sources on this machine');
}
