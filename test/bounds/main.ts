/**
 * `make bounds`: each row of docs/limits.md, driven to its bound and to ten times it, in the shipped form
 * with its real flags. Prints how long Status took meanwhile, as rows of a table; ends with 1
 * where a row is not refused as it must be, or Status took longer than it may.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LIMIT_ROWS, MIB } from '../../scripts/limits-table.ts';
import { drive } from './drive.ts';
import type { BoundRow, Times } from './row.ts';
import { rowsOf } from './rows.ts';
import { quantile, type Withstood } from './withstand.ts';

const USAGE = `usage: main.ts [--seconds N] [--row NAME]

Floods a plugin with each row of docs/limits.md, or with one of them, for so many seconds at least (5).
`;
const MOST_STATUS_MS = 100;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    row: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const chosen = LIMIT_ROWS.filter(({ name }) => values.row === undefined || values.row === name);
const seconds = Number(values.seconds);
if (values.help || !(seconds >= 0) || chosen.length === 0) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}

const commit = execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
  encoding: 'utf8',
}).trim();
const began = performance.now();
say(
  `${new Date().toISOString().slice(0, 10)}, ${availableParallelism()} cores of ${cpus()[0]?.model}`,
);
say(`commit ${commit}, load average at the beginning ${loadOf()}\n`);
say(
  '| row | times | Status calls | p99, ms | without the waits for a processor, ms | work of the plugin, ms | at most, ms | memory, MiB | load |',
);
say('|---|---|---|---|---|---|---|---|---|');
let failures = 0;
for (const { name } of chosen) {
  for (const [i, row] of rowsOf(name).entries()) {
    for (const times of [1, 10] as const) await driven(`${name}${'′'.repeat(i)}`, row, times);
  }
}
say(`\n${failures} failed, ${((performance.now() - began) / 60_000).toFixed(0)} min`);
process.exitCode = failures === 0 ? 0 : 1;

async function driven(name: string, row: BoundRow, times: Times): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'trousseau-bounds-'));
  try {
    const result = await drive(dir, row, times, row.isLong === true ? 0 : seconds * 1_000);
    const { p99, figures } = figuresOf(result);
    say(`| ${name} | ${times} | ${figures} | ${loadOf()} |`);
    if (p99 > MOST_STATUS_MS) failures += 1;
  } catch (error) {
    failures += 1;
    say(`| ${name} | ${times} | ${String(error)} |`);
    say(readFileSync(join(dir, 'plugin.log'), 'utf8').slice(-2_000));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What it took is judged without the time for which other programs had the processors. */
function figuresOf({ asked, mostResident }: Withstood) {
  const took = asked.map((one) => one.took);
  const p99 = quantile(
    asked.map((one) => one.took - one.waited),
    0.99,
  );
  const work = quantile(
    asked.map((one) => one.worked),
    0.99,
  );
  const figures = [quantile(took, 0.99), p99, work, quantile(took, 1)].map((ms) => ms.toFixed(1));
  return { p99, figures: [asked.length, ...figures, Math.round(mostResident / MIB)].join(' | ') };
}

function loadOf(): string {
  return loadavg()[0]?.toFixed(1) ?? '';
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
