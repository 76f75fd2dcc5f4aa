/**
 * Builds the executables dist/bin/trousseau-linux-x64 and dist/bin/trousseau-linux-arm64: Node, the
 * bundle, its code cache and all licenses in one file each, the same bytes in every build.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleProgram } from './binary/bundle.ts';
import { makeCodeCache } from './binary/code-cache.ts';
import { writeExecutable } from './binary/executable.ts';
import { collectLicenses } from './binary/licenses.ts';
import { type Arch, emulator, nodePackage, nodeVersion } from './binary/runtime.ts';

const ARCHS: readonly Arch[] = ['x64', 'arm64'];
const MEGABYTE = 1e6;

const pinned = nodeVersion();
if (process.versions.node !== pinned) {
  process.stderr.write(`run this with Node ${pinned}: node_modules/.bin/node ${process.argv[1]}\n`);
  process.exit(2);
}

const { source, packages } = await bundleProgram();
for (const arch of ARCHS) {
  const folder = nodePackage(arch);
  const node = join(folder, 'bin/node');
  const runner = emulator(arch);
  if (runner === undefined)
    process.stderr.write(
      `${arch}: no code cache, its starts will be slower and its bytes other ones: nothing here runs ` +
        'it (Debian: apt-get install qemu-user libstdc++6-arm64-cross)\n',
    );
  const codeCache =
    runner === undefined ? undefined : await makeCodeCache(source, [...runner, node]);
  const output = `dist/bin/trousseau-linux-${arch}`;
  writeExecutable(output, {
    arch,
    nodeVersion: pinned,
    node,
    source,
    codeCache,
    licenses: collectLicenses(packages, folder),
  });
  const bytes = readFileSync(output);
  const hash = createHash('sha256').update(bytes).digest('hex');
  process.stdout.write(`${hash}  ${output}  ${(bytes.length / MEGABYTE).toFixed(1)} MB\n`);
}
