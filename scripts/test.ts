/**
 * Runs the tests of the named suites with node:test, and fails on a skipped test, or a file without
 * one, as on a failed test.
 */
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const MAX_FILE_MS = 20 * 60_000;
/** Whole products of states, and emulated processors on which others work too. */
const MAX_FIELD_FILE_MS = 6 * 60 * 60_000;

/** Suites whose files can run side by side: what they wait for is rarely a processor. */
const SHARING: readonly string[] = ['unit', 'vault', 'e2e', 'robustness'];

// What a test makes for others to read must not depend on who runs it.
process.umask(0o022);

const suites = process.argv.slice(2);
const files = suites.flatMap((suite) => globSync(`test/${suite}/**/*.test.ts`).sort());
if (suites.length === 0 || files.length === 0) {
  process.stderr.write('usage: test.ts SUITE..., each a folder of test/ that holds *.test.ts\n');
  process.exit(2);
}

// Where times are looked at, or whole machines run, nothing else must keep the processors busy.
const concurrency = suites.every((suite) => SHARING.includes(suite)) ? availableParallelism() : 1;
const counts = { passed: 0, failed: 0, skipped: 0 };
const silent = new Set(files.map((file) => resolve(file)));
const timeout = suites.includes('field') ? MAX_FIELD_FILE_MS : MAX_FILE_MS;
const stream = run({ files, concurrency, timeout });
stream.on('test:pass', ({ name, file, skip, todo, details }) => {
  // Each file is reported as a test too, named as itself, which passes where none is in it.
  if (details.type === 'suite' || resolve(name) === file) return;
  if (skip === undefined && todo === undefined) counts.passed += 1;
  else counts.skipped += 1;
});
stream.on('test:fail', () => {
  counts.failed += 1;
});
stream.on('test:summary', ({ file, counts: { tests } }) => {
  if (file !== undefined && tests > 0) silent.delete(file);
});
const report = stream.compose(new spec());
report.pipe(process.stdout);
await finished(report);

process.stdout.write(
  `\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`,
);
if (counts.skipped > 0) process.stdout.write('a skipped test counts as a failure\n');
for (const file of silent) process.stdout.write(`${file} has no test: that counts as a failure\n`);
process.exitCode =
  counts.failed > 0 || counts.skipped > 0 || silent.size > 0 || counts.passed === 0 ? 1 : 0;
