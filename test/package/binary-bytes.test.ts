import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Arch } from '../../scripts/binary/runtime.ts';
import { environment } from '../servers/process.ts';
import { executable, ROOT } from './executable.ts';
import { needTools } from './packages-built.ts';

needTools();

const ARCHS: readonly Arch[] = ['x64', 'arm64'];
const MAX_BYTES = 115e6;

/** All that a build reads, as it is in the working tree. */
const INPUTS = ['src', 'scripts', 'package.json', 'package-lock.json', 'tsconfig.json', 'LICENSE'];

/** What the clock of a build says that is made again. */
const ANOTHER_DAY = '2031-07-09 10:11:12';

/** Copies the tree to the folder and builds there, at another time and without a network. */
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

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

describe('the bytes of the executables', () => {
  it('are the same from a build in another folder, on another day and without a network', () => {
    const { commit } = JSON.parse(
      execFileSync(executable('x64'), ['version', '--output', 'json'], { encoding: 'utf8' }),
    ) as { commit: string };
    mkdirSync(join(ROOT, 'build'), { recursive: true });
    const folder = mkdtempSync(join(ROOT, 'build/copy-')); // where hard links reach
    // Short: the daemon that makes the code cache listens on a socket in it.
    const temporary = mkdtempSync(join(tmpdir(), 'tr-'));
    try {
      const again = buildIn(join(folder, 'somewhere/else entirely'), commit, temporary);
      assert.deepEqual(
        again,
        ARCHS.map((arch) => sha256(executable(arch))),
      );
    } finally {
      for (const made of [folder, temporary]) rmSync(made, { recursive: true, force: true });
    }
  });

  for (const arch of ARCHS) {
    it(`${arch}: name no folder of the build`, () => {
      const bytes = readFileSync(executable(arch));
      for (const place of [ROOT, join(tmpdir(), 'trousseau-')])
        assert.equal(bytes.indexOf(place), -1, place);
    });

    it(`${arch}: are few enough`, () => {
      const { size } = statSync(executable(arch));
      assert.ok(size <= MAX_BYTES, `${size} bytes`);
    });
  }
});
