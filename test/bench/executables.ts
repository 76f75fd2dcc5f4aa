/**
 * `make bench-executables`: size, hash of two builds, start and memory of what is shipped. Writes the last
 * section of docs/benchmarks.md.
 */
import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ARCHS, hashesOfAnotherBuild, sha256 } from '../package/another-build.ts';
import { executable, ROOT } from '../package/executable.ts';
import { EXECUTABLES, startTable } from './report.ts';
import { measureStarts } from './start.ts';

const STARTS = 40;
const DOCUMENT = join(ROOT, 'docs/benchmarks.md');

const folder = mkdtempSync(join(tmpdir(), 'trousseau-bench-'));
try {
  const starts = await measureStarts(executable('x64'), join(folder, 'start'), STARTS);
  const again = hashesOfAnotherBuild();
  const { commit } = JSON.parse(
    execFileSync(executable('x64'), ['version', '--output', 'json'], { encoding: 'utf8' }),
  ) as { readonly commit: string };
  const builds = ARCHS.map((arch, i) => {
    const file = executable(arch);
    const same = sha256(file) === again[i] ? 'the same' : 'ANOTHER ONE';
    return `| ${basename(file)} | ${megabytes(file)} | \`${sha256(file)}\` | ${same}: \`${again[i]}\` |`;
  });
  const packages = globSync(join(ROOT, 'dist/packages/*.{rpm,deb}'))
    .sort()
    .map((file) => `| ${basename(file)} | ${megabytes(file)} |`);
  const section = `${EXECUTABLES}

Of commit ${commit}, written by \`make bench-executables\` on ${new Date().toISOString().slice(0, 10)}, ${cpus().length} cores, ${cpus()[0]?.model.trim()}. The
second build was made in another folder, by a clock that says 2031, and without a network.

| executable | size | SHA-256 | of the second build |
|---|---|---|---|
${builds.join('\n')}

| package | size |
|---|---|
${packages.join('\n')}

From exec of the x64 executable to the first good v2 Status, local provider, ${STARTS} starts:

${startTable(starts)}`;
  const before = readFileSync(DOCUMENT, 'utf8');
  const at = before.indexOf(EXECUTABLES);
  const kept = at < 0 ? `${before.trimEnd()}\n\n` : before.slice(0, at);
  writeFileSync(DOCUMENT, kept + section);
  process.stdout.write(section);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function megabytes(file: string): string {
  return `${(statSync(file).size / 1e6).toFixed(1)} MB`;
}
