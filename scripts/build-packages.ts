/**
 * Makes the RPM and the Debian package for both architectures: `build-packages.ts [--out FOLDER]
 * [--binaries FOLDER] [--compression small|fast]`. The same commit gives the same bits; docs/packages.md
 * says what is in them. `fast` is for tests that install several versions, and is not small.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { commonContents } from './packages/contents.ts';
import { buildDeb, isCompression } from './packages/deb.ts';
import { editionOf } from './packages/edition.ts';
import { buildRpm } from './packages/rpm.ts';
import { selinuxModule } from './packages/selinux.ts';
import { missingTools } from './packages/tools.ts';

const LARGEST_BYTES = 30_000_000;
const ARCHITECTURES = [
  { node: 'x64', deb: 'amd64', rpm: 'x86_64' },
  { node: 'arm64', deb: 'arm64', rpm: 'aarch64' },
] as const;

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'dist/packages' },
    binaries: { type: 'string', default: 'dist/bin' },
    compression: { type: 'string', default: 'small' },
  },
});
const missing = missingTools('packages');
const absent = ARCHITECTURES.map(({ node }) => `${values.binaries}/trousseau-linux-${node}`).filter(
  (binary) => !existsSync(binary),
);
if (missing !== undefined || absent.length > 0) {
  const why = missing ?? `there is no ${absent.join(', no ')}: run make binary first`;
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

const { compression } = values;
if (!isCompression(compression)) {
  process.stderr.write(`--compression ${compression}: it is small or fast\n`);
  process.exit(2);
}

const scratch = mkdtempSync(join(tmpdir(), 'trousseau-packages-'));
try {
  rmSync(values.out, { recursive: true, force: true });
  mkdirSync(values.out, { recursive: true });
  const edition = editionOf(process.env);
  if (edition.dirty) {
    const why = edition.gitProblem ?? 'not everything is committed';
    process.stderr.write(`${why}: nobody can rebuild these\n`);
  }
  const selinux = selinuxModule(scratch);
  for (const { node, deb, rpm } of ARCHITECTURES) {
    const binary = `${values.binaries}/trousseau-linux-${node}`;
    const contents = await commonContents(binary, edition);
    const material = { binary, contents, selinux, edition, compression, scratch, out: values.out };
    for (const file of await Promise.all([buildDeb(deb, material), buildRpm(rpm, material)])) {
      const { size } = statSync(file);
      process.stdout.write(`${(size / 1e6).toFixed(1).padStart(5)} MB  ${file}\n`);
      if (compression === 'small' && size > LARGEST_BYTES)
        throw new Error(`${file} is larger than ${LARGEST_BYTES} bytes`);
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
