/** Floods the shipped plugin, with its real flags, while it is asked for Status, and checks what is left of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { MEMORY_MAX_MIB, MIB } from '../../scripts/limits-table.ts';
import { vitalsOf } from '../fuzz/vitals.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';

/** Of one Status, in milliseconds. */
export type Asked = {
  readonly took: number;
  /** The plugin's main thread had a processor. */
  readonly worked: number;
  /** It, or the thread that asked, waited for one. */
  readonly waited: number;
};

export type Withstood = {
  readonly plugin: Plugin;
  readonly asked: readonly Asked[];
  /** Bytes. */
  readonly residentBefore: number;
  readonly mostResident: number;
};

/** Far beyond kube-apiserver's 3 s, for a machine that has others to serve; the times are printed. */
const STATUS_LIMIT_MS = 20_000;
/** What the plugin may do before it answers Status: half of them, and each, a third of 3 s. */
const MEDIAN_WORK_MS = 100;
const MOST_WORK_MS = 1_000;
/** Of fewer the half are those to which the code was not compiled yet. */
const LEAST_FOR_MEDIAN = 20;
const MOST_MEMORY = MEMORY_MAX_MIB * MIB * 0.75;

/** Starts a plugin with this configuration, floods it, and stops it; the log is in the folder. */
export async function withstand(
  dir: string,
  config: object,
  flood: (plugin: Plugin) => Promise<void>,
  { mayBeAway = false } = {},
): Promise<Withstood> {
  const log = { level: 'info', format: 'json' };
  await using plugin = await startPlugin({ dir, config: { log, ...config } });
  await plugin.ready();
  const { resident } = vitalsOf(plugin.process.pid);
  const asking = await askStatus(plugin, mayBeAway);
  let asked: readonly Asked[];
  try {
    await flood(plugin);
  } finally {
    asked = await asking.stop();
  }
  assert.ok(plugin.process.isRunning());
  const { mostResident } = vitalsOf(plugin.process.pid);
  return { plugin, asked, residentBefore: resident, mostResident };
}

/** Fails where the plugin kept Status waiting, or took more memory than its unit may. */
export function assertWithstood({ asked, mostResident }: Withstood): void {
  const worked = asked.map((one) => one.worked);
  const [median, most] = [quantile(worked, 0.5), quantile(worked, 1)];
  const isUsual = asked.length < LEAST_FOR_MEDIAN || median < MEDIAN_WORK_MS;
  assert.ok(isUsual && most < MOST_WORK_MS, `${median} ms, ${most} ms`);
  assert.ok(mostResident < MOST_MEMORY, `${mostResident} bytes`);
}

/** In a line, for a person. */
export function summaryOf({ asked, residentBefore, mostResident }: Withstood): string {
  const took = asked.map((one) => one.took);
  const worked = asked.map((one) => one.worked);
  return (
    `Status: ${asked.length} calls, p99 ${quantile(took, 0.99).toFixed(1)} ms, at most ` +
    `${quantile(took, 1).toFixed(1)} ms, of which the plugin worked ` +
    `${quantile(worked, 1).toFixed(1)} ms; memory: ${Math.round(residentBefore / MIB)} MiB before, ` +
    `at most ${Math.round(mostResident / MIB)} MiB`
  );
}

/** The value that so large a share of them does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Asks for Status again and again from a thread of its own. */
async function askStatus(
  plugin: Plugin,
  mayBeAway: boolean,
): Promise<{ stop(): Promise<readonly Asked[]> }> {
  const worker = new Worker(new URL('ask-status.ts', import.meta.url), {
    workerData: {
      ...{ socket: plugin.socket, pid: plugin.process.pid },
      ...{ limitMs: STATUS_LIMIT_MS, mayBeAway },
    },
  });
  await once(worker, 'message'); // it has had its first answer
  const ended = once(worker, 'message') as Promise<[{ asked: Asked[]; failed?: string }]>;
  ended.catch(() => undefined); // stop() rejects with it
  return {
    async stop() {
      worker.postMessage('stop');
      const [{ asked, failed }] = await ended;
      await worker.terminate();
      assert.equal(failed, undefined);
      assert.ok(asked.length > 0);
      return asked;
    },
  };
}
