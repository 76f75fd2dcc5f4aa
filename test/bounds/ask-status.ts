/**
 * A thread that asks for Status again and again until it is told to stop, and counts how long it took,
 * and how much of that time the plugin's main thread had a processor: its work before the answer. The
 * rest is the machine's, which has others to serve.
 */
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { createKmsClient } from '../../src/kms/client.ts';

const PAUSE_MS = 5;

const { socket, pid, limitMs, mayBeAway } = workerData as {
  /** The provider is kept from answering, and Status may say so. */
  readonly mayBeAway: boolean;
  readonly socket: string;
  readonly pid: number;
  readonly limitMs: number;
};
const client = createKmsClient(socket, limitMs);
const took: number[] = [];
const worked: number[] = [];
/** In milliseconds; the first field is in nanoseconds: Documentation/scheduler/sched-stats.rst. */
const workOf = (): number =>
  Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
let failed: string | undefined;
let stopping = false;
await client.v2.status();
parentPort?.postMessage('ready');
parentPort?.once('message', () => {
  stopping = true;
});
do {
  const [began, before] = [performance.now(), workOf()];
  try {
    const { healthz } = await client.v2.status();
    if (healthz !== 'ok' && !mayBeAway) failed ??= healthz;
  } catch (error) {
    failed ??= String(error);
  }
  took.push(performance.now() - began);
  worked.push(workOf() - before);
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
} while (!stopping);
client.close();
parentPort?.postMessage({ took, worked, failed });
