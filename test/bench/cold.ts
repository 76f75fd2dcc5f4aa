/**
 * Bursts on a cold plugin: kube-apiserver calls rarely, and then for many objects at once. The first
 * calls after a start, and the first ones after a silence, with nothing warmed up before.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Load, startKubernetesClient } from '../servers/kms-client.ts';
import { folderOf, SEED_BYTES } from './calls.ts';
import { cpuMs, type Place, type RunningSubject, type Subject, startSubject } from './subject.ts';

export type ColdOptions = {
  readonly folder: string;
  readonly subjects: readonly Subject[];
  readonly place: (subject: Subject) => Promise<Omit<Place, 'socket' | 'dir'>>;
  /** How many starts of each plugin are measured, in turn. */
  readonly rounds: number;
  /** How long a plugin gets no call before the second kind of burst, in seconds. */
  readonly silenceSeconds: number;
};

/** One burst of {@link BURST_CALLS} decrypts by {@link BURST_WORKERS} workers. */
export type Burst = {
  readonly subject: string;
  readonly after: 'start' | 'silence';
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the plugin, in microseconds a call. */
  readonly pluginCpuUs: number;
};

export const BURST_CALLS = 2_000;
export const BURST_WORKERS = 16;
const CALL_TIMEOUT_MS = 30_000;
const DECRYPT = { through: 'service', api: 'v2', workers: BURST_WORKERS } as const;

/** Measures all subjects in turn; rejects where a call failed or answered something wrong. */
export async function measureCold(options: ColdOptions): Promise<readonly Burst[]> {
  const { folder, subjects, rounds, silenceSeconds } = options;
  const prepared = [];
  for (const subject of subjects) {
    const dir = folderOf(folder, `${subject.name}-cold`);
    const place = { dir, ...(await options.place(subject)) };
    prepared.push({ subject, place, client: await objectsWritten(subject, place) });
  }
  const bursts: Burst[] = [];
  try {
    for (let round = 0; round < rounds; round += 1) {
      for (const { subject, place, client } of prepared) {
        await using running = await startSubject(subject, place);
        bursts.push(await burst(running, client, 'start'));
      }
    }
    const silent: RunningSubject[] = [];
    try {
      for (const { subject, place, client } of prepared) {
        const running = await startSubject(subject, place);
        silent.push(running);
        await burst(running, client, 'start');
      }
      await sleep(silenceSeconds * 1_000);
      for (const [i, running] of silent.entries()) {
        const client = prepared[i]?.client;
        if (client !== undefined) bursts.push(await burst(running, client, 'silence'));
      }
    } finally {
      for (const running of silent) await running.process.stop();
    }
  } finally {
    for (const { client } of prepared) await client.stop();
  }
  return bursts;
}

type Client = Awaited<ReturnType<typeof startKubernetesClient>>;

/** A client that remembers objects which a process of this plugin encrypted, which has ended. */
async function objectsWritten(subject: Subject, place: Omit<Place, 'socket'>): Promise<Client> {
  await using running = await startSubject(subject, place);
  const client = await startKubernetesClient({
    release: '1.36',
    dir: place.dir,
    socket: running.socket,
    timeoutMs: CALL_TIMEOUT_MS,
  });
  checked(subject.name, await client.write({ ...DECRYPT, count: BURST_CALLS, size: SEED_BYTES }));
  return client;
}

async function burst(
  { name, process }: RunningSubject,
  client: Client,
  after: Burst['after'],
): Promise<Burst> {
  await client.dial();
  const before = cpuMs(process.pid);
  const load = checked(name, await client.read(DECRYPT));
  return {
    subject: name,
    after,
    callsPerSecond: (load.count * 1_000) / load.elapsedMs,
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    pluginCpuUs: ((cpuMs(process.pid) - before) * 1_000) / load.count,
  };
}

function checked(name: string, load: Load): Load {
  if (load.errors > 0 || load.mismatches > 0 || load.count !== BURST_CALLS)
    throw new Error(`${name}: ${load.errors} errors, ${load.mismatches} wrong: ${load.firstError}`);
  return load;
}
