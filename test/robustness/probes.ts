/** What the world does by itself: whether each Vault server decrypts, and how late this process and its clients are. */
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
  /** Resolves when every server decrypts again; a server that stays away rejects it after the limit. */
  isUp(server: number): boolean;
  /** Ends all probes. */
  stop(): Promise<void>;
};

/** Asks each server directly, past every proxy, with a token and a ciphertext of its own. */
export async function startProbes(
  admin: VaultAdmin,
  addresses: readonly string[],
  clients: readonly KubernetesClient[],
  recorder: Recorder,
): Promise<Probes> {
  const token = await admin.createToken({ policies: ['root'], ttl: '24h' });
  const plaintext = Buffer.from('is it there?').toString('base64');
  const { data } = await admin.write(`transit/encrypt/${KEY}`, { plaintext });
  const body = { plaintext };
  if (data === undefined || data === null) throw new Error('Vault does not encrypt');
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
    let lastGood = recorder.now();
    while (running) {
      const began = recorder.now();
      const isGood = await encrypts(address).catch(() => false);
      if (isGood !== up[server]) {
        up[server] = isGood;
        const since = isGood ? recorder.now() : lastGood;
        recorder.record({ e: 'vault', server, up: isGood, since });
      }
      if (isGood) lastGood = began;
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
  watching.catch(() => undefined); // told by stop()
  return {
    isUp: (server) => up[server] === true,
    async stop() {
      running = false;
      await watching;
    },
  };
}
