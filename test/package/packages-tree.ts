/** Debian trees for tests that need no systemd of their own: a layer for each test, entered with chroot. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { baseTree, layerAbove, type TreeKind } from './trees.ts';

export type Tree = {
  readonly root: string;
  /** Its files, by their paths inside. */
  path(inside: string): string;
  /** Copies a file of the host into it and answers its path there. */
  bring(file: string): string;
  run(command: string, ...args: readonly string[]): Ran;
};

export type Ran = { readonly status: number | null; readonly output: string };

/** A tree of Debian 13, or another, with `packages` in it, of which nothing stays after the test. */
export function debianTree(
  t: TestContext,
  name: string,
  packages: readonly string[],
  more: Partial<TreeKind> = {},
): Tree {
  const tree = baseTree({ suite: 'trixie', packages, ...more });
  const layer = layerAbove(tree, mkdtempSync(join(tmpdir(), `trousseau-${name}-`)));
  t.after(() => layer[Symbol.dispose]());
  const { root } = layer;
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

/**
 * With a /proc of its own, in namespaces that leave nothing behind: what the command has started in the
 * background, as gpg does its agent, ends with it, and would keep the layer in memory otherwise.
 */
function enter(root: string, command: string, args: readonly string[]): Ran {
  const script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@" 2>&1';
  const apart = ['--mount', '--pid', '--fork', '--kill-child'];
  const ran = spawnSync('unshare', [...apart, '/bin/sh', '-c', script, root, command, ...args], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
  });
  return { status: ran.status, output: ran.stdout };
}
