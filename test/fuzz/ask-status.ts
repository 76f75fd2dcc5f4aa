/** A thread that asks for Status again and again until it is told to stop, and counts how long it took. */
import { parentPort, workerData } from 'node:worker_threads';
import { createKmsClient } from '../../src/kms/client.ts';

const PAUSE_MS = 5;

const { socket, limitMs } = workerData as { readonly socket: string; readonly limitMs: number };
const client = createKmsClient(socket, limitMs);
const took: number[] = [];
let failed: string | undefined;
let stopping = false;
await client.v2.status();
parentPort?.postMessage('ready');
parentPort?.once('message', () => {
  stopping = true;
});
do {
  const began = performance.now();
  try {
    const { healthz } = await client.v2.status();
    if (healthz !== 'ok') failed ??= healthz;
  } catch (error) {
    failed ??= String(error);
  }
  took.push(performance.now() - began);
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
} while (!stopping);
client.close();
parentPort?.postMessage({ took, failed });
