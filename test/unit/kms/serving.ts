/** A KMS server on a socket of its own, for tests that speak HTTP/2 themselves. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Method } from '../../../src/kms/method.ts';
import { createKmsServer, type KmsServer } from '../../../src/kms/server.ts';
import { createLog } from '../../../src/observe/log.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** The server and the path of its socket; it is drained after the test. */
export async function serving(
  t: TestContext,
  method: Method,
): Promise<{ readonly kms: KmsServer; readonly path: string }> {
  const log = createLog({ level: 'error', format: 'json', write: () => undefined });
  const kms = createKmsServer([method], { log, clock: systemClock });
  const server = createServer((socket) => kms.accept(socket));
  const path = join(temporaryFolder(t), 'kms.sock');
  server.listen(path);
  await once(server, 'listening');
  t.after(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    await Promise.all([kms.drain(100), closed]);
  });
  return { kms, path };
}
