/**
 * A process that serves, uses every file descriptor that it may have, and prints what the watchdog's
 * proof says of it then. Its argument is how many descriptors are held in reserve.
 */
import { openSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKmsServer } from '../../src/kms/server.ts';
import { silentLog } from '../../src/observe/log.ts';
import { systemClock } from '../../src/system/clock.ts';
import {
  areDescriptorsExhausted,
  holdSpareDescriptors,
} from '../../src/system/spare-descriptors.ts';
import { socketProbe } from '../../src/system/watchdog.ts';

const LIMIT_MS = 10_000;
const path = join(tmpdir(), `trousseau-exhausted-${process.pid}.sock`);
const kms = createKmsServer([], { log: silentLog, clock: systemClock });
const server = createServer(kms.accept);
await new Promise<void>((resolve) => server.listen(path, resolve));
const spare = holdSpareDescriptors(Number(process.argv[2]));
const probe = socketProbe({ path: () => path, lost: () => undefined, spare });
// The modules that a first connection loads need descriptors of their own.
await probe(LIMIT_MS);
while (!areDescriptorsExhausted()) openSync('/dev/null', 'r');
process.stdout.write(JSON.stringify(await probe(LIMIT_MS)));
server.close(() => process.exit());
