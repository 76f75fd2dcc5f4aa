/** Measures whether each Vault server encrypts, and how late this process and its clients are. */
import { setTimeout as sleep } from 'node:timers/promises';
import { jsonRequest } from '../servers/json-request.ts';
import type { KubernetesClient } from '../servers/kms-client.ts';
import type { VaultAdmin } from '../servers/vault-admin.ts';
import { KEY } from '../vault/vault-under-test.ts';
import type { Recorder } from './recorder.ts';

const ASK_EVERY_MS = 200;
const ASK_LIMIT_MS = 1_000;
const LAG_EVERY_MS = 50;
const LEAST_LAG_MS = 20;

export type Probes = {
  /** Ends all probes. Rejects where a client has ended. */
  stop(): Promise<void>;
};

/** Asks each server directly, past every proxy, with a token of its own. */
export async function startProbes(
  admin: VaultAdmin,
  addresses: readonly string[],
  clients: readonly KubernetesClient[],
  recorder: Recorder,
): Promise<Probes> {
  const token = await admin.createToken({ policies: ['root'], ttl: '24h' });
  const body = { plaintext: Buffer.from('is it there?').toString('base64') };
  const up = addresses.map(() => true);
  let running = true;
  addresses.forEach((_, server) => {
    recorder.record({ e: 'vault', server, up: false, since: recorder.now() });
    recorder.record({ e: 'vault', server, up: true, since: recorder.now() });
  });
  const encrypts = async (address: string): Promise<boolean> => {
    const reply = await jsonRequest({
      method: 'POST',
      url: `${address}/v1/transit/encrypt/${KEY}`,
      headers: { 'x-vault-token': token },
      body,
      signal: AbortSignal.timeout(ASK_LIMIT_MS),
    });
    return reply.status === 200;
  };
  const watchServer = async (address: string, server: number): Promise<void> => {
    let lastSuccess = recorder.now();
    while (running) {
      const began = recorder.now();
      const succeeded = await encrypts(address).catch(() => false);
      if (succeeded !== up[server]) {
        up[server] = succeeded;
        const since = succeeded ? recorder.now() : lastSuccess;
        recorder.record({ e: 'vault', server, up: succeeded, since });
      }
      if (succeeded) lastSuccess = began;
      await sleep(ASK_EVERY_MS);
    }
  };
  const watchItself = async (): Promise<void> => {
    while (running) {
      const began = performance.now();
      await sleep(LAG_EVERY_MS);
      note(performance.now() - began - LAG_EVERY_MS);
    }
  };
  const watchClient = async (client: KubernetesClient): Promise<void> => {
    while (running) {
      const began = performance.now();
      await client.ping();
      note(performance.now() - began);
      await sleep(ASK_EVERY_MS);
    }
  };
  const note = (ms: number): void => {
    if (ms > LEAST_LAG_MS) recorder.record({ e: 'lag', ms: Math.round(ms) });
  };
  const watching = Promise.all([
    ...addresses.map(watchServer),
    ...clients.map(watchClient),
    watchItself(),
  ]);
  watching.catch(() => undefined); // reported by stop()
  return {
    async stop() {
      running = false;
      await watching;
    },
  };
}
