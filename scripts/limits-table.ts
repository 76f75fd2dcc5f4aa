/**
 * Every bound of the daemon as a row: what is counted, how many, what is got beyond it, and the memory
 * that it can take. The numbers are those that the code has; the costs of one were measured, rounded up.
 */
import { MOST_CACHED } from '../src/config/schema.ts';
import { BATCH_LIMITS } from '../src/keyring/batcher.ts';
import { MOST as MOST_REQUESTS } from '../src/keyring/slots.ts';
import { HEAP_MEGABYTES, LIMITS } from '../src/limits.ts';
import { MAX_CONNECTIONS as ADMIN_CONNECTIONS } from '../src/observe/admin.ts';
import { MAX_REPLY_BYTES } from '../src/providers/vault/http.ts';

const KIB = 1024;
export const MIB = 1024 * KIB;
/** `MemoryMax=` of the unit; a test compares. */
export const MEMORY_MAX_MIB = 512;

export type LimitRow = {
  readonly counted: string;
  readonly bound: string;
  readonly beyond: string;
  /** Bytes of V8's heap, and beside it, that so many can take. */
  readonly heap: number;
  readonly outside: number;
};

const { connections, calls, endingStreams } = LIMITS;
const number = (count: number): string => count.toLocaleString('en');
const size = (bytes: number): string =>
  bytes < MIB ? `${number(bytes / KIB)} KiB` : `${number(bytes / MIB)} MiB`;
const seconds = (ms: number): string => `${ms / 1000} s`;
/** A row that takes no memory of its own: another row has it. */
const within = { heap: 0, outside: 0 };

export const LIMIT_ROWS: readonly LimitRow[] = [
  {
    ...{ counted: 'the program itself, idle', bound: '' },
    ...{ beyond: '', heap: 14 * MIB, outside: 55 * MIB },
  },
  {
    counted: 'connections on the KMS socket',
    bound: number(connections),
    beyond:
      'the one that has been silent for the longest is closed, or else the one without a call for the longest; where each has a call, the new one is closed',
    ...{ heap: connections * 12 * KIB, outside: connections * 24 * KIB },
  },
  {
    counted:
      'bytes of a connection before its first call, and of its header block that is not whole',
    bound: `${size(LIMITS.readAheadBytes)} and ${size(LIMITS.headerBlockBytes)}`,
    beyond: "they go to Node's HTTP/2 at once, which has bounds of its own",
    ...{ heap: 0, outside: connections * (LIMITS.readAheadBytes + LIMITS.headerBlockBytes) },
  },
  {
    counted: 'time of a connection without its first call',
    bound: seconds(LIMITS.firstCallMs),
    beyond: 'it is closed where it has not even sent the preface of HTTP/2',
    ...within,
  },
  {
    counted: 'headers of one call',
    bound: `${LIMITS.headerListPairs}, ${size(LIMITS.headerListBytes)}; path and authority ${size(LIMITS.keptHeaderBytes)}`,
    beyond: 'RST_STREAM, ENHANCE_YOUR_CALM',
    ...within,
  },
  {
    counted: 'calls of one connection that have not ended',
    bound: number(LIMITS.callsPerConnection),
    beyond: 'a client waits, as SETTINGS say; of others the stream is reset',
    ...within,
  },
  {
    counted: 'calls of all connections that have not ended, answers that are not read among them',
    bound: number(calls),
    beyond: `RESOURCE_EXHAUSTED; the last ${number(LIMITS.reservedCalls)} are for connections with fewer than ${LIMITS.reservedCallsPerConnection}; Status and Version have ${number(LIMITS.reservedCalls)} more, as few for each connection`,
    ...{ heap: (calls + LIMITS.reservedCalls) * 10 * KIB, outside: calls * 2 * KIB },
  },
  {
    counted: 'streams beside these that are being refused or reset',
    bound: number(endingStreams),
    beyond: 'connections that send much are not read until some have ended',
    // The last read of a connection may bring as many as one may have.
    ...{
      heap: (endingStreams + LIMITS.callsPerConnection) * 5 * KIB,
      outside: endingStreams * KIB,
    },
  },
  {
    counted: 'time of a call until its message is whole, and until its end',
    bound: `${seconds(LIMITS.messageMs)} and ${seconds(LIMITS.callMs)}`,
    beyond: 'RST_STREAM; the connection is closed where an answer is not read',
    ...within,
  },
  {
    counted: 'one message',
    bound: `${size(LIMITS.messageBytes)} in ${LIMITS.messagePieces} pieces`,
    beyond: 'RESOURCE_EXHAUSTED; RST_STREAM for too many pieces or a second message',
    ...within,
  },
  {
    counted: 'a compressed message',
    bound: 'none',
    beyond: 'UNIMPLEMENTED',
    ...within,
  },
  {
    counted: 'bytes of all messages whose calls have not ended',
    bound: size(LIMITS.messageBytesOfAll),
    beyond: `RESOURCE_EXHAUSTED; the last ${size(LIMITS.reservedBytes)} are for connections with at most ${size(LIMITS.reservedBytesPerConnection)}`,
    // The message, the copy of grpc-js, and the answer.
    ...{ heap: 0, outside: 3 * LIMITS.messageBytesOfAll },
  },
  {
    counted: 'frames of one connection in one turn of the event loop',
    bound: number(LIMITS.framesPerTurn),
    beyond: 'it is not read until the next turn',
    ...within,
  },
  {
    counted: 'RST_STREAM frames of one connection',
    bound: `${number(LIMITS.resetsAtOnce)}, and ${number(LIMITS.resetsPerSecond)} a second for longer`,
    beyond: 'GOAWAY',
    ...within,
  },
  {
    counted: 'calls that wait for a provider',
    bound: `${number(BATCH_LIMITS.calls.ordinary)}, and ${BATCH_LIMITS.calls.urgent} of their own for Encrypt and health checks`,
    beyond: 'RESOURCE_EXHAUSTED',
    ...within,
  },
  {
    counted: 'requests to a provider at once',
    bound: `${MOST_REQUESTS}, each of ${BATCH_LIMITS.batch} items and ${size(BATCH_LIMITS.bytes)}`,
    beyond: 'calls wait for a place in the next one',
    // Each as text, with its answer.
    ...{
      heap: MOST_REQUESTS * 2 * BATCH_LIMITS.bytes,
      outside: MOST_REQUESTS * BATCH_LIMITS.bytes,
    },
  },
  {
    counted: 'one answer of Vault',
    bound: size(MAX_REPLY_BYTES),
    beyond: 'it counts as no answer',
    // The description of a key, one at a time: other answers are as long as what was asked.
    ...{ heap: 2 * MAX_REPLY_BYTES, outside: MAX_REPLY_BYTES },
  },
  {
    counted: 'entries of the decrypt cache, where it is on',
    bound: `decryptCache.maxEntries, ${number(MOST_CACHED)} at most; ${size(LIMITS.cacheBytes)}`,
    beyond: 'those that were decrypted longest ago are dropped',
    ...{ heap: MOST_CACHED * 480, outside: LIMITS.cacheBytes + MOST_CACHED * 256 },
  },
  {
    counted: 'connections on the admin endpoint',
    bound: number(ADMIN_CONNECTIONS),
    beyond: 'the oldest is closed',
    ...{ heap: ADMIN_CONNECTIONS * 16 * KIB, outside: ADMIN_CONNECTIONS * 16 * KIB },
  },
];

/** What all rows can take together, in MiB. */
export function sumOf(part: 'heap' | 'outside'): number {
  return LIMIT_ROWS.reduce((sum, row) => sum + row[part], 0) / MIB;
}

/** The document. */
export function limitsDocument(): string {
  const mib = (bytes: number): string => (bytes === 0 ? '' : (bytes / MIB).toFixed(1));
  const rows = LIMIT_ROWS.map(
    ({ counted, bound, beyond, heap, outside }) =>
      `| ${counted} | ${bound} | ${beyond} | ${mib(heap)} | ${mib(outside)} |`,
  );
  return `# Limits

Made by \`make generate\` from src/limits.ts and scripts/limits-table.ts. Whoever can connect to the socket can
decrypt; these limits hold nevertheless, so that one client that is wrong does not take the plugin from the others.
A limit that was reached is a line in the log, once a minute, with how often.

| what is counted | limit | what a caller gets beyond it | heap, MiB | beside it, MiB |
|---|---|---|---|---|
${rows.join('\n')}
| **together** | | | **${sumOf('heap').toFixed(0)}** | **${sumOf('outside').toFixed(0)}** |

The heap of the executable is ${HEAP_MEGABYTES} MiB and the unit's \`MemoryMax=\` ${MEMORY_MAX_MIB}M. A test sees that the
sums leave a quarter of each free. An idle plugin takes what the first row says and no more: memory that is not
used is given back.
`;
}
