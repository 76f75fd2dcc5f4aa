/**
 * Runs the tests of the named suites with node:test, says which files have ended and how long each took,
 * and fails on a skipped test, or a file without one, as on a failed test.
 */
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { relative, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { childrenWith, killTree } from './process-tree.ts';

/** Of one file; beyond it its process and all that it has started are killed, and it has failed. */
const MAX_FILE_MS = 15 * 60_000;
/** Whole products of states, and emulated processors on which others work too. */
const MAX_FIELD_FILE_MS = 6 * 60 * 60_000;
/** How many files are named at the end, the slowest first. */
const SLOWEST = 25;

/** How many files run side by side, at most: each may have a kube-apiserver, or a booted machine in memory. */
const MOST_AT_ONCE = 4;

/**
 * Files, or whole suites, beside which no other file runs: they saturate the processors on purpose and
 * measure meanwhile, or are as large as the machine. All others mostly wait for something.
 */
const ALONE: readonly string[] = [
  'test/daemon/bounds.test.ts',
  'test/field/',
  // Which functions a life of the daemon compiles depends on how long the others keep it waiting.
  'test/package/binary-bytes.test.ts',
];

// What a test makes for others to read must not depend on who runs it.
process.umask(0o022);

const suites = process.argv.slice(2);
const files = inTurn(suites.map((suite) => globSync(`test/${suite}/**/*.test.ts`).sort()));
if (suites.length === 0 || files.length === 0) {
  process.stderr.write('usage: test.ts SUITE..., each a folder of test/ that holds *.test.ts\n');
  process.exit(2);
}

const counts = { passed: 0, failed: 0, skipped: 0 };
const silent = new Set(files.map((file) => resolve(file)));
const took = new Map<string, number>();

const isAlone = (file: string): boolean => ALONE.some((start) => file.startsWith(start));
await runFiles(
  files.filter((file) => !isAlone(file)),
  Math.min(availableParallelism(), MOST_AT_ONCE),
);
await runFiles(files.filter(isAlone), 1);

const slowest = [...took].sort(([, a], [, b]) => b - a).slice(0, SLOWEST);
process.stdout.write(`\n${files.length} files in ${seconds(performance.now())}, the slowest:\n`);
for (const [file, ms] of slowest) {
  process.stdout.write(`${seconds(ms).padStart(9)}  ${file}\n`);
}
process.stdout.write(
  `\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`,
);
if (counts.skipped > 0) process.stdout.write('a skipped test counts as a failure\n');
for (const file of silent) process.stdout.write(`${file} has no test: that counts as a failure\n`);
process.exitCode =
  counts.failed > 0 || counts.skipped > 0 || silent.size > 0 || counts.passed === 0 ? 1 : 0;

/** One of each list and again: files of one suite need the same, such as packages that the first of them makes. */
function inTurn(lists: readonly (readonly string[])[]): readonly string[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, i) =>
    lists.flatMap((list) => list.slice(i, i + 1)),
  ).flat();
}

async function runFiles(chosen: readonly string[], concurrency: number): Promise<void> {
  if (chosen.length === 0) return;
  const limitMs = suites.includes('field') ? MAX_FIELD_FILE_MS : MAX_FILE_MS;
  const stream = run({ files: chosen, concurrency });
  const limits = new Map<string, NodeJS.Timeout>();
  // Not the timeout of node:test: it ends one process, and waits until all that this has started have closed its output.
  stream.on('test:dequeue', ({ name, file }) => {
    if (file === undefined || !isFile(name, file)) return;
    const end = (): void => {
      process.stdout.write(`${relative('.', file)} is killed: it runs for ${seconds(limitMs)}\n`);
      for (const pid of childrenWith(process.pid, file)) killTree(pid);
    };
    limits.set(file, setTimeout(end, limitMs));
  });
  // Each file is reported as a test too, named as itself, which passes where none is in it.
  const isFile = (name: string, file: string | undefined): boolean => resolve(name) === file;
  stream.on('test:pass', ({ name, file, skip, todo, details }) => {
    if (details.type === 'suite' || isFile(name, file)) return;
    if (skip === undefined && todo === undefined) counts.passed += 1;
    else counts.skipped += 1;
  });
  stream.on('test:fail', () => {
    counts.failed += 1;
  });
  // Comes as soon as the file has ended; the report of its tests waits for the files before it.
  stream.on('test:complete', ({ name, file, details }) => {
    if (file === undefined || !isFile(name, file)) return;
    clearTimeout(limits.get(file));
    const short = relative('.', file);
    took.set(short, details.duration_ms);
    const done = `${took.size} of ${files.length} files`;
    process.stdout.write(
      `[${done}, ${seconds(performance.now())}] ${short} took ${seconds(details.duration_ms)}\n`,
    );
  });
  stream.on('test:summary', ({ file, counts: { tests } }) => {
    if (file !== undefined && tests > 0) silent.delete(file);
  });
  const report = stream.compose(new spec());
  report.pipe(process.stdout, { end: false });
  await finished(report);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
