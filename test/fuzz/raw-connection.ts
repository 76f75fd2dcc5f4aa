/** A client's half of one HTTP/2 connection that sends any bytes, and notes what the server answers. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  DATA,
  EMPTY_SETTINGS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  headerFrames,
  PREFACE,
  RST_STREAM,
  readFrames,
  SETTINGS,
  SETTINGS_ACK,
} from '../unit/authority/http2-bytes.ts';
import { createDecoder, createEncoder, type Field, type Form } from '../unit/authority/rfc7541.ts';

export const OPENING = Buffer.concat([PREFACE, EMPTY_SETTINGS]);

/** What has become of a stream: `grpc-status 8`, `RST_STREAM 2`, `HTTP 415`. */
export type StreamEnd = string;

export type RawConnection = {
  readonly socket: Socket;
  /** How each stream has ended that has. */
  readonly ends: ReadonlyMap<number, StreamEnd>;
  /** The error code of a GOAWAY, where one has come. */
  readonly goaway: () => number | undefined;
  readonly isClosed: () => boolean;
  /** Resolves when the connection has closed. */
  readonly closed: Promise<void>;
  /** Resolves when the condition holds or the connection has closed; the condition may use `ends`. */
  until(condition: () => boolean): Promise<void>;
  /** Reads nothing from now on. */
  stopReading(): void;
};

/** Connects, and acknowledges each SETTINGS unless told otherwise. */
export async function openConnection(
  path: string,
  { acknowledges = true } = {},
): Promise<RawConnection> {
  const socket = connect(path);
  const ends = new Map<number, StreamEnd>();
  const waiting = new Set<() => void>();
  const decode = createDecoder();
  let unread: Buffer = Buffer.alloc(0);
  let goaway: number | undefined;
  let isClosed = false;
  const tell = (): void => {
    for (const check of waiting) check();
  };
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      isClosed = true;
      tell();
      resolve();
    });
  });
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    const { frames, rest } = readFrames(
      unread.length === 0 ? chunk : Buffer.concat([unread, chunk]),
    );
    unread = rest;
    for (const { type, flags, stream, payload } of frames) {
      if (type === SETTINGS && (flags & 1) === 0 && acknowledges && !isClosed) {
        socket.write(SETTINGS_ACK);
      } else if (type === HEADERS) {
        const fields = new Map(decode(payload));
        const status = fields.get('grpc-status');
        if (status !== undefined) ends.set(stream, `grpc-status ${status}`);
        else if (fields.get(':status') !== '200' && fields.has(':status')) {
          ends.set(stream, `HTTP ${fields.get(':status')}`);
        }
      } else if (type === RST_STREAM && !ends.has(stream)) {
        ends.set(stream, `RST_STREAM ${payload.readUInt32BE(0)}`);
      } else if (type === GOAWAY) {
        goaway = payload.readUInt32BE(4);
      }
    }
    tell();
  });
  await Promise.race([once(socket, 'connect').catch(() => undefined), closed]);
  return {
    socket,
    ends,
    goaway: () => goaway,
    isClosed: () => isClosed,
    closed,
    until: (condition) =>
      new Promise((resolve) => {
        const check = (): void => {
          if (!isClosed && !condition()) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    stopReading: () => void socket.pause(),
  };
}

const PLAIN: Form = { indexing: 'without', nameIndex: true, huffman: false };
const INDEXED: Form = { indexing: 'incremental', nameIndex: true, huffman: true };

/** The headers of a call of gRPC; one that is `undefined` is left out. */
export type Headers = Readonly<Record<string, string | undefined>>;

/** Writes the header blocks of one connection. */
export function createHeaderWriter(authority = 'localhost', indexed = true) {
  const encoder = createEncoder();
  return {
    /** HEADERS of a call, END_HEADERS set and END_STREAM not. */
    headers(stream: number, path: string, more: Headers = {}): Buffer {
      return headerFrames(stream, this.block(path, more));
    },
    block(path: string, more: Headers = {}): Buffer {
      const all = {
        ':method': 'POST',
        ':scheme': 'http',
        ':path': path,
        ':authority': authority,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...more,
      };
      const fields = Object.entries(all).flatMap(([name, value]): Field[] =>
        value === undefined ? [] : [[name, value]],
      );
      return encoder.encode(fields.map((field) => [field, indexed ? INDEXED : PLAIN]));
    },
  };
}

/** A message of gRPC with its prefix. */
export function prefixed(message: Uint8Array, flag = 0): Buffer {
  const bytes = Buffer.alloc(5 + message.length);
  bytes[0] = flag;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, 5);
  return bytes;
}

/** The one DATA frame that ends a call's request. */
export function lastData(stream: number, bytes: Uint8Array): Buffer {
  return frame(DATA, END_STREAM, stream, bytes);
}

export function resetFrame(stream: number, code: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(code);
  return frame(RST_STREAM, 0, stream, payload);
}
