/** The KMS services on a socket as the daemon serves them, over a provider in memory. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { CacheLimits } from '../../../src/keyring/cache.ts';
import { healthOf } from '../../../src/keyring/health.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { createKmsClient, type KmsClient } from '../../../src/kms/client.ts';
import { createKmsServer, type KmsServer } from '../../../src/kms/server.ts';
import * as v1beta1 from '../../../src/kms/v1beta1.ts';
import * as v2 from '../../../src/kms/v2.ts';
import { createLog } from '../../../src/observe/log.ts';
import { type Clock, systemClock } from '../../../src/system/clock.ts';
import { serveOnSocket } from '../../../src/system/unix-socket.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';
import { temporaryFolder } from '../temporary-folder.ts';

export type KmsUnderTest = {
  readonly client: KmsClient;
  readonly provider: FakeProvider;
  readonly socket: string;
  readonly kms: KmsServer;
  readonly lines: string[];
  readonly stopListening: () => Promise<void>;
};

/** Serving, with a client that has seen a good Status; everything is stopped when the test ends. */
export async function serveKms(
  t: TestContext,
  { cache, clock = systemClock }: { cache?: CacheLimits; clock?: Clock } = {},
): Promise<KmsUnderTest> {
  const socket = join(temporaryFolder(t), 'kms.sock');
  const lines: string[] = [];
  const log = createLog({ level: 'debug', format: 'json', write: (line) => void lines.push(line) });
  const provider = createFakeProvider();
  const keyring = createKeyring({
    writer: provider,
    readers: [provider],
    watchIntervalMs: 30_000,
    cache,
    clock,
    log,
  });
  const kms = createKmsServer(
    [
      v1beta1.versionMethod({ name: 'Trousseau', version: '3.0.0' }),
      v1beta1.encryptMethod(keyring),
      v1beta1.decryptMethod(keyring),
      v2.statusMethod(() => healthOf(keyring.state(), clock.now(), undefined)),
      v2.encryptMethod(keyring),
      v2.decryptMethod(keyring),
    ],
    { log, clock: systemClock },
  );
  const served = await serveOnSocket(() => createServer(kms.accept), {
    ...{ path: socket, mode: 0o600, group: undefined, shared: false, clock: systemClock },
    ...{ changed: () => undefined, failed: () => undefined },
  });
  assert.ok(!('problem' in served));
  keyring.start();
  const client = createKmsClient(socket, 2_000);
  let closing: Promise<void> | undefined;
  const stopListening = (): Promise<void> => {
    closing ??= served.close();
    return closing;
  };
  t.after(async () => {
    client.close();
    const closed = stopListening();
    await kms.drain(500);
    await keyring.stop();
    await closed;
  });
  await eventually(async () => (await client.v2.status()).healthz === 'ok');
  return { client, provider, socket, kms, lines, stopListening };
}

/** Asks again until it holds; the test's own time-out is the bound. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds().catch(() => false))) await new Promise((resolve) => setImmediate(resolve));
}
