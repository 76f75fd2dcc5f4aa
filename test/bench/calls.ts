/** Calls a second and their times, at several degrees of concurrency, from Kubernetes' own client. */
import { join } from 'node:path';
import { kmsProvider } from '../servers/encryption-configuration.ts';
import {
  type KmsApi,
  type KubernetesClient,
  type Load,
  startKubernetesClient,
} from '../servers/kms-client.ts';
import type { VaultAdmin } from '../servers/vault-admin.ts';
import { cpuMs, type RunningSubject } from './subject.ts';

export type Operation = 'encrypt' | 'decrypt';

/** One cell of the matrix. */
export type Cell = {
  readonly subject: string;
  readonly delayMs: number;
  readonly api: KmsApi;
  readonly operation: Operation;
  readonly workers: number;
};

export type Measured = Cell & {
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the plugin and of Vault, in microseconds a call. */
  readonly pluginCpuUs: number;
  readonly vaultCpuUs: number;
  /** Requests to Vault for each 1,000 calls. */
  readonly vaultRequests: number;
};

export type Bench = {
  readonly subject: RunningSubject;
  readonly client: KubernetesClient;
};

export type VaultUnderLoad = { readonly pid: number; readonly admin: VaultAdmin };

/** What kube-apiserver has encrypted with KMS v2. */
export const SEED_BYTES = 32;
const CALL_TIMEOUT_MS = 30_000;
/** Of each API and direction, before anything is measured: compilers need some. */
export const WARM_UP_CALLS = 3_000;

/** A client for one subject, with objects to decrypt for each API. */
export async function prepare(subject: RunningSubject, dir: string): Promise<Bench> {
  const client = await startKubernetesClient({
    release: '1.36',
    dir,
    socket: subject.socket,
    timeoutMs: CALL_TIMEOUT_MS,
    providers: [kmsProvider('v1', subject.socket, { name: 'bench', timeout: '30s', cachesize: 1 })],
  });
  for (const api of ['v1', 'v2'] as const) {
    const through = { through: 'service', api } as const;
    await client.write({ ...through, count: WARM_UP_CALLS, workers: 64, size: SEED_BYTES });
    await client.read({ ...through, workers: 64 });
  }
  return { subject, client };
}

/** How many calls a measurement makes: enough for a second or so. */
export function countFor(workers: number, delayMs: number): number {
  const perSecond = Math.min(8_000, (workers * 1_000) / (1 + delayMs));
  return Math.max(200, Math.round(perSecond / 100) * 100);
}

/** Measures one cell; rejects where a call failed or answered something wrong. */
export async function measure(
  { subject, client }: Bench,
  vault: VaultUnderLoad,
  cell: Cell,
): Promise<Measured> {
  const { api, operation, workers, delayMs } = cell;
  const count = countFor(workers, delayMs);
  const through = { through: 'service', api } as const;
  const write = (): Promise<Load> => client.write({ ...through, count, workers, size: SEED_BYTES });
  if (operation === 'decrypt')
    await client.write({ ...through, count, workers: 64, size: SEED_BYTES });
  const { pid } = subject.process;
  const before = { plugin: cpuMs(pid), vault: cpuMs(vault.pid), requests: await requestsOf(vault) };
  const load = await (operation === 'encrypt' ? write() : client.read({ ...through, workers }));
  const perCall = (ms: number): number => (ms * 1_000) / load.count;
  if (load.errors > 0 || load.mismatches > 0 || load.count !== count)
    throw new Error(
      `${subject.name}: ${load.errors} errors, ${load.mismatches} wrong: ${load.firstError}`,
    );
  const cpu = { plugin: cpuMs(pid) - before.plugin, vault: cpuMs(vault.pid) - before.vault };
  // The question itself is one of them. After some ten minutes Vault's counter stands still.
  const asked = (await requestsOf(vault)) - before.requests;
  return {
    ...cell,
    callsPerSecond: (load.count * 1_000) / load.elapsedMs,
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    pluginCpuUs: perCall(cpu.plugin),
    vaultCpuUs: perCall(cpu.vault),
    vaultRequests: asked === 0 ? Number.NaN : ((asked - 1) * 1_000) / load.count,
  };
}

/** How many requests Vault has handled since its start. */
async function requestsOf({ admin }: VaultUnderLoad): Promise<number> {
  const { body } = await admin.request('GET', 'sys/metrics?format=prometheus');
  const found = /^vault_core_handle_request_count (\d+)/m.exec(String(body));
  if (found === null) throw new Error('Vault does not say how many requests it has handled');
  return Number(found[1]);
}

export type ListMeasured = {
  readonly subject: string;
  readonly workers: number;
  readonly writesPerSecond: number;
  readonly coldReadsPerSecond: number;
};

/** KMS v1 through the API server's own envelope code: objects written, and read with no key in memory. */
export async function measureList(
  { subject, client }: Bench,
  workers: number,
  count: number,
): Promise<ListMeasured> {
  await client.load();
  const written = await client.write({ through: 'envelope', count, workers });
  await client.load();
  const read = await client.read({ through: 'envelope', workers });
  for (const load of [written, read]) {
    if (load.errors > 0 || load.mismatches > 0)
      throw new Error(
        `${subject.name}: ${load.errors} errors, ${load.mismatches} wrong: ${load.firstError}`,
      );
  }
  const rate = (load: Load): number => (load.count * 1_000) / load.elapsedMs;
  return {
    subject: subject.name,
    workers,
    writesPerSecond: rate(written),
    coldReadsPerSecond: rate(read),
  };
}

export function folderOf(dir: string, name: string): string {
  return join(dir, name.replace(/[^\w.-]+/g, '-'));
}
