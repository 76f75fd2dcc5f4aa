/**
 * From exec to the first good v2 Status, with the local provider: the shipped form, started over
 * and over. Prints the figures and writes them to docs/benchmarks.md.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createKmsClient } from '../../src/kms/client.ts';

const PROGRAM = join(import.meta.dirname, '../../dist/trousseau');
const REPORT = join(import.meta.dirname, '../../docs/benchmarks.md');
const START_LIMIT_MS = 10_000;

const { values } = parseArgs({
  options: { starts: { type: 'string', default: '20' }, help: { type: 'boolean', short: 'h' } },
});
const starts = Number(values.starts);
if (values.help === true || !Number.isInteger(starts) || starts < 1) {
  process.stdout.write(
    'usage: start.ts [--starts N]\nMeasures N starts (20 unless given) of dist/trousseau.\n',
  );
  process.exit(values.help === true ? 0 : 2);
}

type Start = { readonly ms: number; readonly anonymousKiB: number };

const folder = mkdtempSync(join(tmpdir(), 'trousseau-bench-'));
try {
  const config = prepare();
  await start(config); // the first one pays for cold file caches
  const measured: Start[] = [];
  for (let i = 0; i < starts; i += 1) {
    measured.push(await start(config));
    process.stdout.write(`start ${i + 1}/${starts}: ${measured.at(-1)?.ms.toFixed(1)} ms\n`);
  }
  report(measured);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function prepare(): string {
  const keyring = join(folder, 'keyring.json');
  execFileSync(PROGRAM, ['keyring', 'init', keyring], { stdio: ['ignore', 'ignore', 'inherit'] });
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
listen: {socket: ${folder}/kms.sock}
admin: {socket: ${folder}/admin.sock}
log: {level: warn}
providers:
  - name: local
    local: {keyringFile: ${keyring}}
`,
  );
  return config;
}

/** One start, measured by a client that is warm already and calls as soon as the socket appears. */
async function start(config: string): Promise<Start> {
  const socket = join(folder, 'kms.sock');
  const watching = new AbortController();
  const appeared = Promise.withResolvers<void>();
  watch(folder, { signal: watching.signal }, (_event, file) => {
    if (file === 'kms.sock') appeared.resolve();
  });
  const limit = AbortSignal.timeout(START_LIMIT_MS);
  limit.addEventListener('abort', () => appeared.reject(new Error('no socket in time')));
  const began = performance.now();
  const daemon = spawn(PROGRAM, ['serve', '--config', config], { stdio: 'inherit' });
  const exited = new Promise<void>((resolve) => daemon.once('exit', () => resolve()));
  const client = createKmsClient(socket);
  try {
    await appeared.promise;
    for (;;) {
      limit.throwIfAborted();
      const status = await client.v2.status().catch(() => undefined);
      if (status?.healthz === 'ok') break;
    }
    const ms = performance.now() - began;
    return { ms, anonymousKiB: anonymousKiB(daemon.pid) };
  } finally {
    watching.abort();
    client.close();
    daemon.kill('SIGTERM');
    await exited;
  }
}

function anonymousKiB(pid: number | undefined): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Anonymous:\s+(\d+)/m.exec(rollup)?.[1] ?? Number.NaN);
}

function report(measured: readonly Start[]): void {
  const sorted = measured.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN).toFixed(
      1,
    );
  const memory = Math.max(...measured.map(({ anonymousKiB }) => anonymousKiB)) / 1024;
  const [cpu] = cpus();
  const text = `# Benchmarks

Written by \`make bench\`. Figures of one machine in one run; only those of one run compare.

- date: ${new Date().toISOString().slice(0, 10)}
- machine: ${cpus().length} cores, ${cpu?.model.trim()}
- runtime: Node ${readNodeVersion()}, the shipped form (\`dist/trousseau\`)

## Start

From exec to the first good v2 Status, local provider, ${measured.length} starts.

| fastest | p50 | p90 | slowest | anonymous memory after it, at most |
|---|---|---|---|---|
| ${at(0)} ms | ${at(0.5)} ms | ${at(0.9)} ms | ${at(1)} ms | ${memory.toFixed(1)} MiB |
`;
  writeFileSync(REPORT, text);
  process.stdout.write(`\n${text}`);
}

function readNodeVersion(): string {
  const facts = execFileSync(PROGRAM, ['version', '--output', 'json'], { encoding: 'utf8' });
  return (JSON.parse(facts) as { node: string }).node;
}
