/**
 * `make bench-against BASE=<dist/trousseau of another commit>`: CPU time of the plugin for each call and its
 * memory, beside those of another build, in short rounds in turn. Writes no report.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startKubernetesClient } from '../servers/kms-client.ts';
import { startSealableVault } from '../servers/vault.ts';
import { transitPolicy } from '../servers/vault-admin.ts';
import { folderOf, SEED_BYTES } from './calls.ts';
import { measureStarts } from './start.ts';
import { anonymousMiB, startSubject, TROUSSEAU, trousseauAt } from './subject.ts';

const KEY = 'kubernetes';
/** Starts of both: what the compilers make of the program differs from one process to the next. */
const LIVES = 3;
const ROUNDS = 6;
const CALLS = 3_000;
const WARM_UP_ROUNDS = 3;
const STARTS = 20;
const CALL_TIMEOUT_MS = 30_000;
const WORKERS = [64, 16, 1];
const SERVICE = { through: 'service', api: 'v2' } as const;

const [base = ''] = process.argv.slice(2);
if (base === '') {
  process.stderr.write('usage: against.ts PROGRAM\n');
  process.exit(2);
}
const subjects = [trousseauAt('base', base), trousseauAt('this', TROUSSEAU)];
const ratios = new Map<string, number[]>();
const folder = mkdtempSync(join(tmpdir(), 'trousseau-bench-'));
try {
  await run();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const [what, measured] of ratios) {
  const sorted = [...measured].sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1] ?? Number.NaN;
  process.stdout.write(`${what}: ${median.toFixed(3)} of the base, ${measured.length} rounds\n`);
}

async function run(): Promise<void> {
  for (let round = 0; round < STARTS; round += 1) {
    const starts = [];
    for (const { name, program } of [
      { name: 'base', program: base },
      { name: 'this', program: TROUSSEAU },
    ])
      starts.push(...(await measureStarts(program, join(folder, `start-${name}-${round}`), 1)));
    keep(
      'start',
      starts.map(({ ms }) => ms),
    );
    keep(
      'memory, after a start',
      starts.map((start) => start.anonymousMiB),
    );
  }
  const dir = join(folder, 'vault');
  mkdirSync(dir);
  await using vault = await startSealableVault({ release: 'newest', dir });
  const { admin } = vault;
  await admin.enableSecrets('transit');
  await admin.createKey(KEY);
  await admin.writePolicy('bench', transitPolicy(KEY));
  for (let life = 0; life < LIVES; life += 1) {
    await using stack = new AsyncDisposableStack();
    const benches: Bench[] = [];
    for (const subject of subjects) {
      const token = await admin.createToken({ policies: ['bench'], period: '1h' });
      const at = folderOf(folder, `${subject.name}-${life}`);
      const place = { dir: at, vault: vault.address, token, key: KEY };
      const { socket, process: plugin } = stack.use(await startSubject(subject, place));
      const client = stack.use(
        await startKubernetesClient({
          release: '1.36',
          dir: at,
          socket,
          timeoutMs: CALL_TIMEOUT_MS,
        }),
      );
      benches.push({ pid: plugin.pid, client });
    }
    keep(
      'memory, idle',
      benches.map(({ pid }) => anonymousMiB(pid)),
    );
    for (let round = 0; round < WARM_UP_ROUNDS; round += 1)
      for (const bench of benches) await cpuOf(bench, 'decrypt', 64);
    for (let round = 0; round < ROUNDS; round += 1)
      for (const workers of WORKERS)
        for (const operation of ['decrypt', 'encrypt'] as const) {
          const costs: number[] = [];
          for (const bench of benches) costs.push(await cpuOf(bench, operation, workers));
          keep(`CPU of ${operation} at ${workers}`, costs);
        }
    keep(
      'memory, after calls',
      benches.map(({ pid }) => anonymousMiB(pid)),
    );
  }
}

type Bench = {
  readonly pid: number;
  readonly client: Awaited<ReturnType<typeof startKubernetesClient>>;
};

function keep(what: string, [before = Number.NaN, now = Number.NaN]: readonly number[]): void {
  ratios.set(what, [...(ratios.get(what) ?? []), now / before]);
}

/** In microseconds a call; rejects where a call failed. */
async function cpuOf(
  { pid, client }: Bench,
  operation: 'encrypt' | 'decrypt',
  workers: number,
): Promise<number> {
  const count = Math.min(CALLS, workers * 500);
  const writers = operation === 'encrypt' ? workers : 64;
  const write = () => client.write({ ...SERVICE, count, workers: writers, size: SEED_BYTES });
  if (operation === 'decrypt') await write();
  const before = scheduledUs(pid);
  const load = await (operation === 'encrypt' ? write() : client.read({ ...SERVICE, workers }));
  if (load.errors + load.mismatches > 0) throw new Error(`calls failed: ${load.firstError}`);
  return (scheduledUs(pid) - before) / load.count;
}

/** CPU time of all threads of a process, finer than the clock ticks of /proc/PID/stat. */
function scheduledUs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => {
    const [ns] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
    return sum + Number(ns) / 1_000;
  }, 0);
}
