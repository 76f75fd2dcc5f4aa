/**
 * `make bench`: Trousseau beside other plugins, interleaved in one run against one real Vault, with
 * and without a way to it. Prints what it measures and writes docs/benchmarks.md with its chart.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startToxiproxy } from '../servers/toxiproxy.ts';
import { startSealableVault } from '../servers/vault.ts';
import { transitPolicy } from '../servers/vault-admin.ts';
import {
  type Bench,
  folderOf,
  type ListMeasured,
  type Measured,
  measure,
  measureList,
  prepare,
} from './calls.ts';
import { type Burst, measureCold } from './cold.ts';
import { profile } from './profile.ts';
import { type Memory, writeReport } from './report.ts';
import { measureStarts } from './start.ts';
import { anonymousMiB, peer, startSubject, TROUSSEAU, trousseau } from './subject.ts';

const KEY = 'kubernetes';
const DELAYS_MS = [0, 5, 20];
const WORKERS = [1, 16, 64];
/** Starts of each plugin for the bursts on cold plugins. */
const COLD_ROUNDS = 7;
const USAGE = `usage: main.ts [--peer NAME=COMMAND]... [--rounds N] [--starts N] [--silence SECONDS] [--quick | --cold]

Measures dist/trousseau, and other plugins beside it. In a peer's command {vault}, {token}, {key},
{socket} and {port} are filled in. --quick leaves out the delays of 5 and 20 ms and KMS v1, --cold
measures the bursts on cold plugins alone; both write no report.
`;

const { values } = parseArgs({
  options: {
    peer: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string', default: '2' },
    starts: { type: 'string', default: '20' },
    calls: { type: 'string', default: '100000' },
    silence: { type: 'string', default: '600' },
    quick: { type: 'boolean', default: false },
    cold: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const [rounds, starts, calls, silence] = [
  values.rounds,
  values.starts,
  values.calls,
  values.silence,
].map(Number);
if ([rounds, starts, calls, silence].some((value) => !isCount(value)) || values.help) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}
const subjects = [trousseau, ...values.peer.filter((text) => text !== '').map(peer)];
const folder = mkdtempSync(join(tmpdir(), 'trousseau-bench-'));
try {
  await run();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function isCount(value: number | undefined): value is number {
  return Number.isInteger(value) && (value ?? 0) > 0;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function run(): Promise<void> {
  const quick = values.quick;
  const started =
    quick || values.cold ? [] : await measureStarts(TROUSSEAU, join(folder, 'start'), starts ?? 0);
  const vaultDir = join(folder, 'vault');
  mkdirSync(vaultDir);
  await using vault = await startSealableVault({ release: 'newest', dir: vaultDir });
  const { admin } = vault;
  await admin.enableSecrets('transit');
  await admin.createKey(KEY);
  await admin.writePolicy('bench', transitPolicy(KEY));
  const cold = quick
    ? []
    : await measureCold({
        folder,
        subjects,
        place: async () => ({
          vault: vault.address,
          token: await admin.createToken({ policies: ['bench'], period: '1h' }),
          key: KEY,
        }),
        rounds: COLD_ROUNDS,
        silenceSeconds: silence ?? 0,
      });
  for (const burst of cold) say(burstLine(burst));
  if (values.cold) return;
  await using toxiproxy = await startToxiproxy(folder);
  const target = { pid: vault.process.pid, admin };
  const cells: Measured[] = [];
  const lists: ListMeasured[] = [];
  const memory: Memory[] = [];
  for (const delayMs of quick ? [0] : DELAYS_MS) {
    const way = await toxiproxy.way(vault.port);
    if (delayMs > 0)
      await way.add({ type: 'latency', stream: 'upstream', attributes: { latency: delayMs } });
    const benches: Bench[] = [];
    for (const subject of subjects) {
      const dir = folderOf(folder, `${subject.name}-${delayMs}`);
      const token = await admin.createToken({ policies: ['bench'], period: '1h' });
      const address = delayMs === 0 ? vault.address : `http://${way.address}`;
      const running = await startSubject(subject, { dir, vault: address, token, key: KEY });
      benches.push(await prepare(running, dir));
    }
    try {
      if (delayMs === 0) {
        for (const { subject } of benches)
          memory.push({
            subject: subject.name,
            when: 'idle',
            mib: anonymousMiB(subject.process.pid),
          });
      }
      for (let round = 0; round < (rounds ?? 0); round += 1)
        await measureAll(benches, target, delayMs, cells);
      if (delayMs === 0 && !quick) {
        for (const workers of [1, 16])
          for (const bench of benches) {
            lists.push(await measureList(bench, workers, 2_000));
            say(`v1 envelope, ${workers} workers: ${JSON.stringify(lists.at(-1))}`);
          }
        for (const bench of benches) memory.push(await memoryAfter(bench, calls ?? 0));
      }
    } finally {
      for (const { client, subject } of benches) {
        await client.stop();
        await subject.process.stop();
      }
    }
  }
  if (quick) return;
  const token = await admin.createToken({ policies: ['bench'], period: '1h' });
  const place = { vault: vault.address, token, key: KEY };
  const shares = await profile(join(folder, 'profiled'), place);
  writeReport({
    starts: started,
    cold,
    silenceSeconds: silence ?? 0,
    cells,
    lists,
    memory,
    profile: shares,
    command: commandLine(),
  });
}

/** One round of all cells, the subjects one after the other in each. */
async function measureAll(
  benches: readonly Bench[],
  vault: Parameters<typeof measure>[1],
  delayMs: number,
  cells: Measured[],
): Promise<void> {
  for (const api of values.quick ? (['v2'] as const) : (['v2', 'v1'] as const))
    for (const operation of ['decrypt', 'encrypt'] as const)
      for (const workers of WORKERS)
        for (const bench of benches) {
          const cell = { subject: bench.subject.name, delayMs, api, operation, workers };
          const measured = await measure(bench, vault, cell);
          cells.push(measured);
          say(lineOf(measured));
        }
}

async function memoryAfter({ client, subject }: Bench, count: number): Promise<Memory> {
  for (let done = 0; done < count; done += 10_000) {
    await client.write({ through: 'service', api: 'v2', count: 5_000, workers: 64, size: 32 });
    await client.read({ through: 'service', api: 'v2', workers: 64 });
  }
  const mib = anonymousMiB(subject.process.pid);
  say(`${subject.name}: ${mib.toFixed(1)} MiB after ${count} calls`);
  return { subject: subject.name, when: `after ${count.toLocaleString('en')} calls`, mib };
}

function lineOf(m: Measured): string {
  const cell = `${m.api} ${m.operation} at ${m.workers}, ${m.delayMs} ms away`;
  const times = `p50 ${m.p50Ms.toFixed(2)} ms, p99 ${m.p99Ms.toFixed(2)} ms`;
  const cpu = `cpu ${m.pluginCpuUs.toFixed(0)} + ${m.vaultCpuUs.toFixed(0)} us`;
  const rate = `${m.callsPerSecond.toFixed(0)}/s`;
  return `${cell}: ${m.subject} ${rate}, ${times}, ${cpu}, ${m.vaultRequests.toFixed(0)} requests per 1,000`;
}

function burstLine({ subject, after, callsPerSecond, p50Ms, p99Ms, pluginCpuUs }: Burst): string {
  const times = `p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`;
  return `cold, after ${after}: ${subject} ${callsPerSecond.toFixed(0)}/s, ${times}, cpu ${pluginCpuUs.toFixed(0)} us`;
}

function commandLine(): string {
  // Where a program lies says something of one machine only.
  const peers = values.peer
    .filter((text) => text !== '')
    .map((text) => text.replace(/^([^=]*=)\S*\//, '$1'));
  return peers.length === 0 ? 'make bench' : `make bench PEERS='${peers.join("' '")}'`;
}
