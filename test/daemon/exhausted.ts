/**
 * A process that serves, uses every file descriptor that it may have, and prints what the watchdog's
 * proof says of it then. Its argument is how many descriptors are held in reserve.
 */
import { once } from 'node:events';
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKmsServer } from '../../src/kms/server.ts';
import { createLog } from '../../src/observe/log.ts';
import { systemClock } from '../../src/system/clock.ts';
import {
  areDescriptorsExhausted,
  holdSpareDescriptors,
} from '../../src/system/spare-descriptors.ts';
import { socketProbe } from '../../src/system/watchdog.ts';

const LIMIT_MS = 10_000;
const path = join(tmpdir(), `trousseau-exhausted-${process.pid}.sock`);
const lines: string[] = [];
const log = createLog({ level: 'warn', format: 'json', write: (line) => void lines.push(line) });
const kms = createKmsServer([], { log, clock: systemClock });
const server = createServer(kms.accept);
await new Promise<void>((resolve) => server.listen(path, resolve));
const spare = holdSpareDescriptors(Number(process.argv[2]));
const probe = socketProbe({
  ...{ path: () => path, lost: () => undefined, spare },
  ...{ isFull: () => false, answered: () => 0 },
});
// The modules that a first connection loads need descriptors of their own.
await probe(LIMIT_MS);
const quiet = lines.length;
const taken: number[] = [];
const takeAll = (): void => {
  while (!areDescriptorsExhausted()) taken.push(openSync('/dev/null', 'r'));
};
// More than once: the descriptors of the first connection come back some turns later.
const clients: Socket[] = [];
for (let round = 0; round < 3; round += 1) {
  takeAll();
  // The last two are for a client and its connection.
  for (const fd of taken.splice(-2)) closeSync(fd);
  const client = connect(path);
  clients.push(client);
  await once(client, 'data'); // the first SETTINGS
}
takeAll();
process.stdout.write(JSON.stringify({ ...(await probe(LIMIT_MS)), quiet, lines }));
unlinkSync(path);
process.exit();
