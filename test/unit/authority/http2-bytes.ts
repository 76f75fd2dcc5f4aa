/** HTTP/2 written byte by byte, for clients that no library would make. */
import { LIMITS } from '../../../src/limits.ts';
import { createEncoder, type Field, type Form } from './rfc7541.ts';

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
const PADDED = 0x8;
const PRIORITY = 0x20;

export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

const NONE = Buffer.alloc(0);
export const EMPTY_SETTINGS = frame(SETTINGS, 0, 0, NONE);
/** What the server sends first: how many streams, and how large a list of headers. */
export const FIRST_SETTINGS = frame(
  SETTINGS,
  0,
  0,
  Buffer.concat([setting(0x3, LIMITS.callsPerConnection), setting(0x6, LIMITS.headerListBytes)]),
);

function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

export const SETTINGS_ACK = frame(SETTINGS, ACK, 0, NONE);

/** How a block is put into frames: RFC 9113, sections 6.2 and 6.10. */
export type Framing = {
  readonly padding?: number | undefined;
  readonly priority?: boolean;
  /** Where the block is cut, each as a part of its length. */
  readonly cuts?: readonly number[];
};

export function headerFrames(stream: number, block: Buffer, framing: Framing = {}): Buffer {
  const offsets = [...(framing.cuts ?? [])]
    .sort((a, b) => a - b)
    .map((cut) => Math.floor(cut * block.length));
  const starts = [0, ...offsets];
  const parts = starts.map((start, i) => block.subarray(start, starts[i + 1] ?? block.length));
  return Buffer.concat(
    parts.map((part, i) => {
      const end = i === parts.length - 1 ? END_HEADERS : 0;
      if (i > 0) return frame(CONTINUATION, end, stream, part);
      const { padding, priority } = framing;
      const payload = Buffer.concat([
        padding === undefined ? NONE : Buffer.of(padding),
        priority === true ? Buffer.of(0, 0, 0, 0, 15) : NONE,
        part,
        Buffer.alloc(padding ?? 0),
      ]);
      const flags = (padding === undefined ? 0 : PADDED) | (priority === true ? PRIORITY : 0);
      return frame(HEADERS, end | flags, stream, payload);
    }),
  );
}

/** As grpc-go writes its headers. */
const INDEXED: Form = { indexing: 'incremental', nameIndex: true, huffman: true };

/** A client's half of one connection: calls with grpc-go's headers, in its order. */
export function createRawClient(authority: string, path: string, form: Form = INDEXED) {
  const encoder = createEncoder();
  let stream = -1;
  return {
    opening: Buffer.concat([PREFACE, EMPTY_SETTINGS]),
    /** The frames of a call; another timeout each time puts another entry into the table. */
    call(message: Uint8Array, timeout: string, framing: Framing = {}): Buffer {
      stream += 2;
      const fields: Field[] = [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', path],
        [':authority', authority],
        ['content-type', 'application/grpc'],
        ['user-agent', 'grpc-go/1.51.0'],
        ['te', 'trailers'],
        ['grpc-timeout', timeout],
      ];
      const block = encoder.encode(fields.map((field) => [field, form]));
      const length = Buffer.alloc(5);
      length.writeUInt32BE(message.length, 1);
      const data = frame(DATA, END_STREAM, stream, Buffer.concat([length, message]));
      return Buffer.concat([headerFrames(stream, block, framing), data]);
    },
  };
}

/** The frames in these bytes; what is left at the end is not whole. */
export function readFrames(bytes: Buffer): {
  readonly frames: readonly { type: number; flags: number; stream: number; payload: Buffer }[];
  readonly rest: Buffer;
} {
  const frames = [];
  let at = 0;
  while (at + 9 <= bytes.length) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    const [type = 0, flags = 0] = bytes.subarray(at + 3, at + 5);
    frames.push({
      type,
      flags,
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return { frames, rest: bytes.subarray(at) };
}
