/** docs/benchmarks.md and its chart, out of what one run has measured. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type ListMeasured, type Measured, WARM_UP_CALLS } from './calls.ts';
import { chart } from './chart.ts';
import { BURST_CALLS, BURST_WORKERS, type Burst } from './cold.ts';
import type { Share } from './profile.ts';
import type { Start } from './start.ts';
import { TROUSSEAU } from './subject.ts';

const DOCS = join(import.meta.dirname, '../../docs');

export type Memory = { readonly subject: string; readonly when: string; readonly mib: number };

export type Results = {
  readonly starts: readonly Start[];
  readonly cold: readonly Burst[];
  readonly silenceSeconds: number;
  readonly cells: readonly Measured[];
  readonly lists: readonly ListMeasured[];
  readonly memory: readonly Memory[];
  readonly profile: readonly Share[];
  readonly command: string;
};

/** Writes the table and the chart. */
export function writeReport(results: Results): void {
  const cells = medians(results.cells);
  const text = [
    head(results.command),
    startSection(results.starts),
    coldSection(results.cold, results.silenceSeconds),
    callSection(cells),
    costSection(cells),
    listSection(results.lists),
    memorySection(results.memory),
    profileSection(results.profile),
  ].join('\n');
  const file = join(DOCS, 'benchmarks.md');
  writeFileSync(file, `${text}\n${executablesIn(file)}`);
  writeFileSync(join(DOCS, 'benchmarks.svg'), chart(cells));
  process.stdout.write(`\n${text}`);
}

export const EXECUTABLES = '## Executables and packages';

/** What executables.ts has written there, which has a run of its own. */
function executablesIn(file: string): string {
  const before = readFileSync(file, 'utf8');
  const at = before.indexOf(EXECUTABLES);
  return at < 0 ? '' : before.slice(at);
}

/** One cell for each that was measured several times: the median of every figure. */
export function medians(cells: readonly Measured[]): readonly Measured[] {
  const groups = Map.groupBy(cells, ({ subject, delayMs, api, operation, workers }) =>
    [subject, delayMs, api, operation, workers].join(),
  );
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const of = (figure: (cell: Measured) => number): number => median(group.map(figure));
    return [
      {
        ...first,
        callsPerSecond: of((c) => c.callsPerSecond),
        p50Ms: of((c) => c.p50Ms),
        p99Ms: of((c) => c.p99Ms),
        pluginCpuUs: of((c) => c.pluginCpuUs),
        vaultCpuUs: of((c) => c.vaultCpuUs),
        vaultRequests: of((c) => c.vaultRequests),
      },
    ];
  });
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function head(command: string): string {
  const facts = JSON.parse(
    execFileSync(TROUSSEAU, ['version', '--output', 'json'], { encoding: 'utf8' }),
  ) as { readonly node: string; readonly version: string };
  return `# Benchmarks

Written by \`make bench\`. Everything below was measured in one run, the plugins in turn, on one
machine that runs the plugin, Vault 1.21.1 and the client (Kubernetes' own, 1.36) at the same time. So
only what stands side by side compares. Figures of another kind of processor, and what holds on both:
[what is not faster](decisions/0010-what-is-not-faster.md).

- date: ${new Date().toISOString().slice(0, 10)}
- machine: ${cpus().length} cores, ${cpus()[0]?.model.trim()}
- command: \`${command}\`
- Trousseau ${facts.version} as it is shipped (\`dist/trousseau\`, Node ${facts.node})

![calls a second at 64 concurrent calls](benchmarks.svg)
`;
}

function startSection(starts: readonly Start[]): string {
  return `## Start

From exec to the first good v2 Status, local provider, ${starts.length} starts.

${startTable(starts)}`;
}

/** Of all of them; a table with one row. */
export function startTable(starts: readonly Start[]): string {
  const sorted = starts.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN).toFixed(
      1,
    );
  const memory = Math.max(...starts.map(({ anonymousMiB }) => anonymousMiB));
  return `| fastest | p50 | p90 | slowest | anonymous memory after it, at most |
|---|---|---|---|---|
| ${at(0)} ms | ${at(0.5)} ms | ${at(0.9)} ms | ${at(1)} ms | ${memory.toFixed(1)} MiB |
`;
}

/** Trousseau's figure through that of the peer. */
function ratio(cell: Measured, cells: readonly Measured[], figure: keyof Measured): string {
  const own = cells.find((c) => c.subject === 'Trousseau' && sameCell(c, cell));
  if (own === undefined || own === cell) return '';
  return ` (${(Number(own[figure]) / Number(cell[figure])).toFixed(2)})`;
}

function sameCell(a: Measured, b: Measured): boolean {
  return (
    a.delayMs === b.delayMs &&
    a.api === b.api &&
    a.operation === b.operation &&
    a.workers === b.workers
  );
}

/** Medians over the starts; the ratio is Trousseau's figure divided by the peer's. */
function coldSection(bursts: readonly Burst[], silenceSeconds: number): string {
  const groups = [...Map.groupBy(bursts, ({ subject, after }) => `${after} ${subject}`).values()];
  const medianOf = (
    group: readonly Burst[],
    figure: 'callsPerSecond' | 'p50Ms' | 'p99Ms',
  ): number => median(group.map((burst) => burst[figure]));
  const rows = groups.flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const own = groups.find((g) => g[0]?.after === first.after && g[0].subject === 'Trousseau');
    const figure = (name: 'callsPerSecond' | 'p50Ms' | 'p99Ms', digits: number): string => {
      const value = medianOf(group, name);
      const ratio =
        own === undefined || own === group ? '' : ` (${(medianOf(own, name) / value).toFixed(2)})`;
      return `${value.toFixed(digits)}${ratio}`;
    };
    const after = first.after === 'start' ? 'a start' : `a silence of ${silenceSeconds} s`;
    return [
      `| ${after} | ${group.length} | ${first.subject} | ${figure('callsPerSecond', 0)} | ${figure('p50Ms', 2)} ms | ${figure('p99Ms', 2)} ms |`,
    ];
  });
  return `## Cold bursts

${BURST_CALLS.toLocaleString('en')} v2 decrypts by ${BURST_WORKERS} workers, without any call before them: what a kube-apiserver
asks for when it starts, or lists Secrets after a quiet time. Medians. In brackets: Trousseau's figure
divided by this one.

| after | bursts | plugin | calls/s | p50 | p99 |
|---|---|---|---|---|---|
${rows.join('\n')}
`;
}

function callSection(cells: readonly Measured[]): string {
  const rows = cells.map(
    (c) =>
      `| ${c.api} ${c.operation} | ${c.delayMs} ms | ${c.workers} | ${c.subject} | ${c.callsPerSecond.toFixed(0)}${ratio(c, cells, 'callsPerSecond')} | ${c.p50Ms.toFixed(2)} ms${ratio(c, cells, 'p50Ms')} | ${c.p99Ms.toFixed(2)} ms${ratio(c, cells, 'p99Ms')} |`,
  );
  return `## Calls

Medians of the rounds, after ${WARM_UP_CALLS} calls of each kind that are not counted. \`way\` is what a proxy adds to each request to Vault. In brackets: Trousseau's
figure divided by this one.

| call | way | at once | plugin | calls/s | p50 | p99 |
|---|---|---|---|---|---|---|
${rows.join('\n')}
`;
}

function costSection(cells: readonly Measured[]): string {
  const rows = cells
    .filter(({ delayMs, api }) => delayMs === 0 && api === 'v2')
    .map(
      (c) =>
        `| ${c.operation} | ${c.workers} | ${c.subject} | ${c.vaultRequests.toFixed(0)} | ${c.pluginCpuUs.toFixed(0)} us | ${c.vaultCpuUs.toFixed(0)} us${ratio(c, cells, 'vaultCpuUs')} |`,
    );
  return `## What a call costs

| v2 | at once | plugin | requests to Vault per 1,000 calls | CPU of the plugin a call | CPU of Vault a call |
|---|---|---|---|---|---|
${rows.join('\n')}
`;
}

function listSection(lists: readonly ListMeasured[]): string {
  const rows = lists.map(
    (l) =>
      `| ${l.workers} | ${l.subject} | ${l.writesPerSecond.toFixed(0)} | ${l.coldReadsPerSecond.toFixed(0)} |`,
  );
  return `## KMS v1 through the API server's envelope code

2,000 objects written, and read again with no data key in memory.

| workers | plugin | writes/s | cold reads/s |
|---|---|---|---|
${rows.join('\n')}
`;
}

function memorySection(memory: readonly Memory[]): string {
  const rows = memory.map((m) => `| ${m.subject} | ${m.when} | ${m.mib.toFixed(1)} MiB |`);
  return `## Memory

Anonymous memory of the process, on a Vault.

| plugin | when | memory |
|---|---|---|
${rows.join('\n')}
`;
}

function profileSection(shares: readonly Share[]): string {
  const rows = shares.map(({ part, share }) => `| ${part} | ${(share * 100).toFixed(1)} % |`);
  return `## Where the time goes

Of the plugin's busy time with 64 v2 decrypts at once and no way to Vault, from a CPU profile.

| part | share |
|---|---|
${rows.join('\n')}
`;
}
