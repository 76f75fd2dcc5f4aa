/** The executables built once more, where nothing is as it was but what they are made of. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Arch } from '../../scripts/binary/runtime.ts';
import { environment } from '../servers/process.ts';
import { executable, ROOT } from './executable.ts';

export const ARCHS: readonly Arch[] = ['x64', 'arm64'];

/** All that a build reads, as it is in the working tree. */
const INPUTS = ['src', 'scripts', 'package.json', 'package-lock.json', 'tsconfig.json', 'LICENSE'];

/** What the clock of a build says that is made again. */
const ANOTHER_DAY = '2031-07-09 10:11:12';

/** Of both executables, built in another folder, on another day and without a network. */
export function hashesOfAnotherBuild(): readonly string[] {
  const { commit } = JSON.parse(
    execFileSync(executable('x64'), ['version', '--output', 'json'], { encoding: 'utf8' }),
  ) as { commit: string };
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const folder = mkdtempSync(join(ROOT, 'build/copy-')); // where hard links reach
  // Short: the daemon that makes the code cache listens on a socket in it.
  const temporary = mkdtempSync(join(tmpdir(), 'tr-'));
  try {
    return buildIn(join(folder, 'somewhere/else entirely'), commit, temporary);
  } finally {
    for (const made of [folder, temporary]) rmSync(made, { recursive: true, force: true });
  }
}

function buildIn(folder: string, commit: string, temporary: string): readonly string[] {
  mkdirSync(folder, { recursive: true });
  for (const input of INPUTS) cpSync(join(ROOT, input), join(folder, input), { recursive: true });
  // As hard links: the same files by other names.
  execFileSync('cp', ['--archive', '--link', join(ROOT, 'node_modules'), folder]);
  const build = ['node_modules/.bin/node', 'scripts/build-binary.ts'];
  execFileSync('unshare', ['--net', 'faketime', ANOTHER_DAY, ...build], {
    cwd: folder,
    env: environment({
      TMPDIR: temporary,
      TROUSSEAU_COMMIT: commit,
      // Node's timers stand still where this clock is another one too.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return ARCHS.map((arch) => sha256(join(folder, `dist/bin/trousseau-linux-${arch}`)));
}

export function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
