/**
 * A thread that asks for Status again and again until it is told to stop, and counts how long each call
 * took, how much of that time the plugin's main thread had a processor (its work before the answer), and
 * how much the two threads waited for one, which is the machine's time and not the plugin's.
 */
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { createKmsClient } from '../../src/kms/client.ts';
import type { Asked } from './withstand.ts';

const PAUSE_MS = 5;

const { socket, pid, limitMs, mayBeAway } = workerData as {
  /** The provider is kept from answering, and Status may say so. */
  readonly mayBeAway: boolean;
  readonly socket: string;
  readonly pid: number;
  readonly limitMs: number;
};
const client = createKmsClient(socket, limitMs);
const asked: Asked[] = [];
/** In milliseconds: running and waiting, which are in nanoseconds. Documentation/scheduler/sched-stats.rst */
const times = (file: string): readonly [number, number] => {
  const [running, waiting] = readFileSync(file, 'latin1').split(' ').map(Number);
  return [(running ?? Number.NaN) / 1e6, (waiting ?? Number.NaN) / 1e6];
};
let failed: string | undefined;
let stopping = false;
await client.v2.status();
parentPort?.postMessage('ready');
parentPort?.once('message', () => {
  stopping = true;
});
do {
  const began = performance.now();
  const [worked, waited] = times(`/proc/${pid}/schedstat`);
  const [, own] = times('/proc/thread-self/schedstat');
  try {
    const { healthz } = await client.v2.status();
    if (healthz !== 'ok' && !mayBeAway) failed ??= healthz;
  } catch (error) {
    failed ??= String(error);
  }
  const took = performance.now() - began;
  const [workedThen, waitedThen] = times(`/proc/${pid}/schedstat`);
  const [, ownThen] = times('/proc/thread-self/schedstat');
  const ofMachine = waitedThen - waited + ownThen - own;
  asked.push({ took, worked: workedThen - worked, waited: Math.min(took, ofMachine) });
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
} while (!stopping);
client.close();
parentPort?.postMessage({ asked, failed });
