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
import { missingTools } from './packages/tools.ts';

const ARCHS: readonly Arch[] = ['x64', 'arm64'];
const MEGABYTE = 1e6;

const pinned = nodeVersion();
if (process.versions.node !== pinned) {
  process.stderr.write(`run this with Node ${pinned}: node_modules/.bin/node ${process.argv[1]}\n`);
  process.exit(2);
}
// Without a code cache the bytes would be other ones, and nobody could compare them.
const unable = ARCHS.filter((arch) => emulator(arch) === undefined);
if (unable.length > 0) {
  const why = missingTools('binary') ?? 'they are made on an x64 machine';
  process.stderr.write(`nothing here runs the executable for ${unable.join(', ')}; ${why}\n`);
  process.exit(1);
}

const { source, packages } = await bundleProgram();
for (const arch of ARCHS) {
  const folder = nodePackage(arch);
  const node = join(folder, 'bin/node');
  const output = `dist/bin/trousseau-linux-${arch}`;
  writeExecutable(output, {
    arch,
    nodeVersion: pinned,
    node,
    source,
    codeCache: await makeCodeCache(source, [...(emulator(arch) ?? []), node]),
    licenses: collectLicenses(packages, folder),
  });
  const bytes = readFileSync(output);
  const hash = createHash('sha256').update(bytes).digest('hex');
  process.stdout.write(`${hash}  ${output}  ${(bytes.length / MEGABYTE).toFixed(1)} MB\n`);
}
