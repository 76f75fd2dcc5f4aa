/**
 * One good exchange, cut after each of its bytes in every way that a connection can end: what the client
 * has sent up to then is all that the server gets of it. The connection is a fresh one, or one that has had
 * an answer before.
 */
import { frame, GOAWAY, PING, SETTINGS_ACK } from '../unit/authority/http2-bytes.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
} from './raw-connection.ts';

const STATUS = '/v2.KeyManagementService/Status';
const WINDOW_UPDATE = 8;
const ENDS = ['destroy', 'end', 'goaway'] as const;
const AT_ONCE = 32;

type CutEnd = (typeof ENDS)[number];

/** What a client of grpc-go writes for one call. */
function exchange(authority: string): {
  readonly opening: Buffer;
  readonly calls: readonly Buffer[];
} {
  const writer = createHeaderWriter(authority);
  const call = (id: number): Buffer =>
    Buffer.concat([
      writer.headers(id, STATUS, { 'grpc-timeout': '3S' }),
      lastData(id, prefixed(Buffer.alloc(0))),
      frame(PING, 0, 0, Buffer.alloc(8)),
      frame(WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 0, 5])),
    ]);
  return { opening: Buffer.concat([OPENING, SETTINGS_ACK]), calls: [call(1), call(3)] };
}

async function cut(socket: string, authority: string, at: number, end: CutEnd, reused: boolean) {
  const connection = await openConnection(socket);
  const { opening, calls } = exchange(authority);
  const [first, second] = calls;
  if (first === undefined || second === undefined) throw new Error('an exchange has two calls');
  if (reused) {
    connection.socket.write(Buffer.concat([opening, first]));
    await connection.until(() => connection.ends.has(1));
  }
  const bytes = reused ? second : Buffer.concat([opening, first]);
  await new Promise<unknown>((resolve) => connection.socket.write(bytes.subarray(0, at), resolve));
  if (end === 'end') {
    connection.socket.end();
    await connection.closed;
  } else if (end === 'goaway') {
    // And closes without reading, which resets the connection.
    connection.stopReading();
    connection.socket.end(frame(GOAWAY, 0, 0, Buffer.alloc(8)));
  }
  connection.socket.destroy();
  await connection.closed;
}

/** Cuts after each byte, on both kinds of connection, in each way; answers how many there were. */
export async function cutEverywhere(socket: string): Promise<number> {
  const cases: (() => Promise<void>)[] = [];
  for (const authority of ['localhost', '/var/run/kms.sock']) {
    const { opening, calls } = exchange(authority);
    const [first = opening, second = opening] = calls;
    for (const end of ENDS) {
      for (let at = 0; at <= opening.length + first.length; at += 1) {
        cases.push(() => cut(socket, authority, at, end, false));
      }
      for (let at = 0; at <= second.length; at += 1) {
        cases.push(() => cut(socket, authority, at, end, true));
      }
    }
  }
  for (let from = 0; from < cases.length; from += AT_ONCE) {
    await Promise.all(cases.slice(from, from + AT_ONCE).map((play) => play()));
  }
  return cases.length;
}
