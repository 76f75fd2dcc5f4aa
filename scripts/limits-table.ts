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

export type LimitName =
  | 'idle'
  | 'connections'
  | 'bytes before calls'
  | 'time before calls'
  | 'headers'
  | 'calls of one'
  | 'calls of all'
  | 'ending streams'
  | 'time of a call'
  | 'one message'
  | 'compressed'
  | 'bytes of all'
  | 'frames in a turn'
  | 'calls in a turn'
  | 'connections in a turn'
  | 'resets'
  | 'waiting calls'
  | 'requests'
  | 'answer of Vault'
  | 'cache'
  | 'asked again'
  | 'admin connections';

export type LimitRow = {
  /** By which test/bounds knows it. */
  readonly name: LimitName;
  /** Which numbers of src/limits.ts it states. */
  readonly of: readonly (keyof typeof LIMITS)[];
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
/** What libuv reads at once. */
const READ_BYTES = 64 * KIB;
/** The shortest call with its RST_STREAM. */
const CANCELLED_BYTES = 29;
const BASE64 = 4 / 3;
const requestBytes = 2 * MOST_REQUESTS * BATCH_LIMITS.bytes;
/** A row that takes no memory of its own: another row has it. */
const within = { heap: 0, outside: 0 };

export const LIMIT_ROWS: readonly LimitRow[] = [
  {
    name: 'idle',
    of: [],
    ...{ counted: 'the program itself, idle', bound: '' },
    ...{ beyond: '', heap: 14 * MIB, outside: 55 * MIB },
  },
  {
    name: 'connections',
    of: ['connections', 'sessionMegabytes'],
    counted: 'connections on the KMS socket',
    bound: number(connections),
    beyond:
      'the one that has been silent for the longest is closed, or else the one without a call for the longest; where each has a call, the new one is closed',
    ...{ heap: connections * 12 * KIB, outside: connections * 24 * KIB },
  },
  {
    name: 'bytes before calls',
    of: ['readAheadBytes', 'headerBlockBytes'],
    counted:
      'bytes of a connection before its first call, and of its header block that is not whole',
    bound: `${size(LIMITS.readAheadBytes)} and ${size(LIMITS.headerBlockBytes)}`,
    beyond: "they go to Node's HTTP/2 at once, which has bounds of its own",
    // And one piece beyond, which is as long as a connection may begin with.
    ...{
      heap: 0,
      outside: connections * (LIMITS.readAheadBytes + LIMITS.firstBytes + LIMITS.headerBlockBytes),
    },
  },
  {
    name: 'time before calls',
    of: ['firstCallMs'],
    counted: 'time of a connection without its first call',
    bound: seconds(LIMITS.firstCallMs),
    beyond: 'it is closed where it has not even sent the preface of HTTP/2',
    ...within,
  },
  {
    name: 'headers',
    of: ['headerListPairs', 'headerListBytes', 'keptHeaderBytes'],
    counted: 'headers of one call',
    bound: `${LIMITS.headerListPairs}, ${size(LIMITS.headerListBytes)}; path and authority ${size(LIMITS.keptHeaderBytes)}`,
    beyond: 'RST_STREAM, ENHANCE_YOUR_CALM',
    ...within,
  },
  {
    name: 'calls of one',
    of: ['callsPerConnection', 'streamsPerConnection', 'refusedStreams', 'refusedUnread'],
    counted: 'calls of one connection that have not ended',
    bound: number(LIMITS.callsPerConnection),
    beyond: `a client waits, as SETTINGS say; of one that does not, streams beyond ${number(LIMITS.streamsPerConnection)} are reset with REFUSED_STREAM, and the connection is ended with GOAWAY, ENHANCE_YOUR_CALM, after ${number(LIMITS.refusedStreams)} of them, or ${LIMITS.refusedUnread} where its client does not read`,
    ...within,
  },
  {
    name: 'calls of all',
    of: ['calls', 'reservedCalls', 'reservedCallsPerConnection'],
    counted: 'calls of all connections that have not ended, answers that are not read among them',
    bound: number(calls),
    beyond: `RESOURCE_EXHAUSTED; the last ${number(LIMITS.reservedCalls)} are for connections with fewer than ${LIMITS.reservedCallsPerConnection}; Status and Version have ${number(LIMITS.reservedCalls)} more, as few for each connection`,
    ...{ heap: (calls + LIMITS.reservedCalls) * 10 * KIB, outside: calls * 2 * KIB },
  },
  {
    name: 'ending streams',
    of: ['endingStreams'],
    counted: 'streams beside these that are being refused or reset',
    bound: number(endingStreams),
    beyond:
      'reset with REFUSED_STREAM; connections that send much are not read until those that were reset have closed',
    // And what one read may bring of the shortest calls that are cancelled in it.
    ...{
      heap: endingStreams * 5 * KIB + Math.ceil(READ_BYTES / CANCELLED_BYTES) * 3 * KIB,
      outside: endingStreams * KIB,
    },
  },
  {
    name: 'time of a call',
    of: ['messageMs', 'callMs'],
    counted: 'time of a call until its message is whole, and until its end',
    bound: `${seconds(LIMITS.messageMs)} and ${seconds(LIMITS.callMs)}`,
    beyond:
      'RST_STREAM, also where the client does not end its request; the connection is closed where an answer is not read',
    ...within,
  },
  {
    name: 'one message',
    of: ['messageBytes', 'messagePieces'],
    counted: 'one message',
    bound: `${size(LIMITS.messageBytes)} in ${LIMITS.messagePieces} pieces`,
    beyond: 'RESOURCE_EXHAUSTED; RST_STREAM for too many pieces or a second message',
    ...within,
  },
  {
    name: 'compressed',
    of: [],
    counted: 'a compressed message',
    bound: 'none',
    beyond: 'UNIMPLEMENTED',
    ...within,
  },
  {
    name: 'bytes of all',
    of: ['messageBytesOfAll', 'reservedBytes', 'reservedBytesPerConnection'],
    counted: 'bytes of all messages whose calls have not ended',
    bound: size(LIMITS.messageBytesOfAll),
    beyond: `RESOURCE_EXHAUSTED; the last ${size(LIMITS.reservedBytes)} are for connections with at most ${size(LIMITS.reservedBytesPerConnection)}`,
    // The message, the copy of grpc-js, and the answer.
    ...{ heap: 0, outside: 3 * LIMITS.messageBytesOfAll },
  },
  {
    name: 'frames in a turn',
    of: ['framesPerTurn', 'frameBytes'],
    counted:
      'frames of all connections in one turn of the event loop, beside the read that reaches it; of a message, each piece counts as one more',
    bound: `${number(LIMITS.framesPerTurn)}, ${size(LIMITS.frameBytes)}`,
    beyond:
      'nothing is read until the next turn: every other one reads only connections that sent little when they were read last, the others read all, and the one that was not read for the longest comes first',
    ...within,
  },
  {
    name: 'calls in a turn',
    of: ['callsPerTurn'],
    counted:
      'calls that begin in one turn, beside those of connections that have few, and calls that are answered in it',
    bound: number(LIMITS.callsPerTurn),
    beyond:
      'they begin in the next turns, those of each connection by turns, and nothing more is read of it before; where their client has closed its connection they are dropped; they are answered in their order',
    ...within,
  },
  {
    name: 'connections in a turn',
    of: ['sessionFrames', 'firstBytes'],
    counted: 'connections that begin in one turn, and the bytes that one may begin with at once',
    bound: `${LIMITS.framesPerTurn / LIMITS.sessionFrames}, ${size(LIMITS.firstBytes)}`,
    beyond:
      'they begin in the next turns: of those with few bytes one at least in every other turn, and of those with more one at a time',
    ...within,
  },
  {
    name: 'resets',
    of: ['resetsAtOnce', 'resetsPerSecond'],
    counted: 'RST_STREAM frames of one connection',
    bound: `${number(LIMITS.resetsAtOnce)}, and ${number(LIMITS.resetsPerSecond)} a second for longer`,
    beyond: 'GOAWAY',
    ...within,
  },
  {
    name: 'waiting calls',
    of: [],
    counted: 'calls that wait for a provider',
    bound: `${number(BATCH_LIMITS.calls.ordinary)} in each direction, and ${BATCH_LIMITS.calls.urgent} of their own for Encrypt of KMS v2 and health checks of v1`,
    beyond: 'RESOURCE_EXHAUSTED',
    ...within,
  },
  {
    name: 'requests',
    of: [],
    counted: 'requests to a provider at once',
    bound: `${MOST_REQUESTS} in each direction, each of ${BATCH_LIMITS.batch} items and ${size(BATCH_LIMITS.bytes)}`,
    beyond: 'calls wait for a place in the next one',
    // Each as text, with its answer, in base64: together what the messages of all calls have.
    ...{
      heap: 2 * BASE64 * Math.min(requestBytes, LIMITS.messageBytesOfAll),
      outside: Math.min(requestBytes, LIMITS.messageBytesOfAll),
    },
  },
  {
    name: 'answer of Vault',
    of: [],
    counted: 'one answer of Vault',
    bound: size(MAX_REPLY_BYTES),
    beyond: 'it counts as no answer',
    // The description of a key, one at a time: other answers are as long as what was asked.
    ...{ heap: 2 * MAX_REPLY_BYTES, outside: MAX_REPLY_BYTES },
  },
  {
    name: 'cache',
    of: ['cacheBytes'],
    counted: 'entries of the decrypt cache, where it is on',
    bound: `decryptCache.maxEntries, ${number(MOST_CACHED)} at most; ${size(LIMITS.cacheBytes)}`,
    beyond: 'those that were decrypted longest ago are dropped',
    ...{ heap: MOST_CACHED * 480, outside: LIMITS.cacheBytes + MOST_CACHED * 256 },
  },
  {
    name: 'asked again',
    of: ['askedAgain', 'seeds'],
    counted: 'ciphertexts of the cache that are asked for again in one request',
    bound: `${LIMITS.askedAgain}, ${LIMITS.seeds} seeds among them`,
    beyond: `the others have their turn later; the last ${LIMITS.askedAgain - LIMITS.seeds} are handed to the process after this one`,
    ...within,
  },
  {
    name: 'admin connections',
    of: [],
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

Made by \`make generate\` from src/limits.ts and scripts/limits-table.ts. Every program that can connect to the socket can
decrypt; these limits hold nevertheless, so that one faulty client does not take the plugin from the others.
A limit that was reached is a line in the log, once a minute, with how often.

| what is counted | limit | what a caller gets beyond it | heap, MiB | beside it, MiB |
|---|---|---|---|---|
${rows.join('\n')}
| **together** | | | **${sumOf('heap').toFixed(0)}** | **${sumOf('outside').toFixed(0)}** |

The heap of the executable is ${HEAP_MEGABYTES} MiB and the unit's \`MemoryMax=\` ${MEMORY_MAX_MIB}M. A test sees that the
sums leave a quarter of each free. An idle plugin takes what the first row says and no more: memory that is not
used is given back.

A test drives each row to its limit and to ten times it, in the shipped form with its real flags, while Status is
asked; \`make bounds\` does it for longer, with those rows that take minutes: [the last run](robustness.md#floods).
`;
}
