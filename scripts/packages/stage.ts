/** What a package installs, as data, and the folder that it is packed from. */
import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** One installed file; whoever packs it knows where its bytes come from. */
export type Entry = {
  /** Absolute, in the installed system. */
  readonly path: string;
  readonly mode: number;
  readonly content: { readonly from: string } | { readonly bytes: string | Buffer };
};

/** Folders with another mode than 0755; both formats read it. */
const FOLDER_MODES: Readonly<Record<string, number>> = { '/etc/trousseau': 0o750 };

/** Lays the entries out under `root`, every time stamp the same. */
export function layOut(root: string, entries: readonly Entry[], epoch: number): void {
  for (const { path, mode, content } of entries) {
    const target = join(root, path);
    mkdirSync(dirname(target), { recursive: true });
    if ('from' in content) copyFileSync(content.from, target);
    else writeFileSync(target, content.bytes);
    chmodSync(target, mode);
  }
  normalize(root, '/', epoch);
}

/** The sum of sizes in KiB, each file rounded up, as Debian counts Installed-Size. */
export function installedKiB(root: string): number {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => lstatSync(join(root, name)))
    .map((stat) => (stat.isDirectory() ? 1 : Math.ceil(stat.size / 1024)))
    .reduce((sum, size) => sum + size, 0);
}

/** The umask of whoever builds must not show, nor when it was built. */
function normalize(root: string, path: string, epoch: number): void {
  for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) normalize(root, below, epoch);
    else utimesSync(join(root, below), epoch, epoch);
  }
  chmodSync(join(root, path), FOLDER_MODES[path] ?? 0o755);
  utimesSync(join(root, path), epoch, epoch);
}
