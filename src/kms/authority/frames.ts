/**
 * The client's half of an HTTP/2 connection, on its way to the server: RFC 9113, sections 3.4 and 4.
 *
 * The bytes are passed on as they come, in whatever pieces, with `:authority` mended. Held back is
 * only what cannot be judged yet: a frame's header that is not whole, and a header block that is
 * not. What is not understood is passed on untouched, and is nghttp2's to refuse.
 */
import { LIMITS } from '../../limits.ts';
import { createByteStore } from './byte-store.ts';
import { type Authority, mendHeaderBlock } from './hpack.ts';

/** What the bytes so far have shown. */
export type Seen = {
  /** The client's preface is whole. */
  preface: boolean;
  /** The first ACK of SETTINGS has come, and was taken out. */
  acknowledged: boolean;
  /** A header block had an authority that needed no mending. */
  good: boolean;
  /**
   * There was something other than good calls: an authority mended or not found, bytes that are not
   * HTTP/2, or a frame that wants an answer.
   */
  doubtful: boolean;
};

export type Scanner = {
  readonly seen: Readonly<Seen>;
  /** Takes what was read, which it may change in place, and returns what may be passed on. */
  scan(chunk: Buffer): Buffer;
  /** Gives back what is held, as it came; the scanner may be forgotten then. */
  release(): Buffer;
  /** How many bytes are held. */
  held(): number;
};

type FrameHeader = {
  readonly length: number;
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
};

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const FRAME_HEADER_BYTES = 9;
const NOTHING: Buffer = Buffer.alloc(0);

const DATA = 0x0;
const HEADERS = 0x1;
const PRIORITY = 0x2;
const SETTINGS = 0x4;
const WINDOW_UPDATE = 0x8;
const CONTINUATION = 0x9;
/** Frames that a server need not answer before it has taken in a request. */
const QUIET = new Set([DATA, PRIORITY, SETTINGS, WINDOW_UPDATE, CONTINUATION]);

const FLAG_ACK = 0x1;
const FLAG_END_HEADERS = 0x4;
const FLAG_PADDED = 0x8;
const FLAG_PRIORITY = 0x20;
const PRIORITY_BYTES = 5;

/**
 * A header block is held up to this size, one frame of the largest size that a server allows unless
 * it says otherwise (RFC 9113, section 6.5.2); that of a call is some hundred bytes.
 */
const MAX_HELD_BYTES = FRAME_HEADER_BYTES + LIMITS.headerBlockBytes;
/** nghttp2 ends a connection for more; without a bound each of them would have the block read again. */
const MAX_FRAGMENTS = 9;

/**
 * A scanner for one connection, from its first byte on. It takes the first ACK of SETTINGS out of
 * the stream: that of the SETTINGS which were sent before the server's own, for clients acknowledge
 * them in order (RFC 9113, section 6.5.3), and nghttp2 ends a connection for an ACK too many.
 */
export function createScanner(): Scanner {
  const seen: Seen = { preface: false, acknowledged: false, good: false, doubtful: false };
  const held = createByteStore();
  /** What is held is read again when so many bytes of it are there. */
  let needed = 0;
  /** Bytes of a frame that are still to be passed on unread. */
  let unread = 0;
  let blind = false;

  /** What can be read now: the chunk behind what is held, or nothing where that is not enough. */
  const readable = (chunk: Buffer): Buffer => {
    if (held.length === 0) return chunk;
    held.append(chunk);
    return held.length < needed ? NOTHING : held.take();
  };

  const scan = (chunk: Buffer): Buffer => {
    if (blind) return chunk;
    const bytes = readable(chunk);
    const passed: Buffer[] = [];
    let from = 0;
    let at = 0;
    while (at < bytes.length) {
      if (unread > 0) {
        const step = Math.min(unread, bytes.length - at);
        unread -= step;
        at += step;
      } else if (!seen.preface) {
        const prefix = bytes.subarray(0, PREFACE.length);
        if (!prefix.equals(PREFACE.subarray(0, prefix.length))) {
          blind = true;
          seen.doubtful = true;
          return bytes;
        }
        if (prefix.length < PREFACE.length) {
          needed = prefix.length + 1;
          break;
        }
        seen.preface = true;
        at = PREFACE.length;
      } else {
        needed = FRAME_HEADER_BYTES;
        if (bytes.length - at < needed) break;
        const header = readFrameHeader(bytes, at);
        if (!seen.acknowledged && isSettingsAck(header)) {
          seen.acknowledged = true;
          passed.push(bytes.subarray(from, at));
          at += FRAME_HEADER_BYTES;
          from = at;
        } else if (header.type === HEADERS) {
          const end = takeHeaders(bytes, at, header);
          needed = end - at;
          if (end > bytes.length) break;
          unread = needed;
        } else {
          if (!QUIET.has(header.type)) seen.doubtful = true;
          unread = FRAME_HEADER_BYTES + header.length;
        }
      }
    }
    if (at < bytes.length) held.append(bytes.subarray(at));
    // Even an empty view would keep all of the chunk in memory.
    const rest = at > from ? bytes.subarray(from, at) : NOTHING;
    return passed.length === 0 ? rest : Buffer.concat([...passed, rest]);
  };

  /**
   * Mends the header block that begins here, and returns where its first frame ends; or, where it is
   * not whole, a place behind these bytes up to which it has to be read first.
   */
  const takeHeaders = (bytes: Buffer, at: number, header: FrameHeader): number => {
    const fragments = headerBlockAt(bytes, at, header);
    if (typeof fragments === 'number') return fragments;
    const authority = fragments === undefined ? 'unknown' : mendFragments(fragments);
    if (authority === 'good') seen.good = true;
    // After a good one, a call without is one that indexes it.
    else if (authority !== 'absent' || !seen.good) seen.doubtful = true;
    return at + FRAME_HEADER_BYTES + header.length;
  };

  return {
    seen,
    scan,
    release: held.take,
    held: () => held.length,
  };
}

/**
 * The parts of the header block in the HEADERS frame at this place and in the CONTINUATION frames
 * behind it (RFC 9113, section 6.10). Where it is not whole, the place up to which it has to be read;
 * undefined if it will not be read.
 */
function headerBlockAt(
  bytes: Buffer,
  start: number,
  headers: FrameHeader,
): Buffer[] | undefined | number {
  const fragments: Buffer[] = [];
  let at = start;
  let header = headers;
  while (true) {
    const end = at + FRAME_HEADER_BYTES + header.length;
    if (end - start > MAX_HELD_BYTES || fragments.length === MAX_FRAGMENTS) return undefined;
    if (end > bytes.length) return end;
    const payload = bytes.subarray(at + FRAME_HEADER_BYTES, end);
    const fragment = at === start ? withoutPadding(payload, header.flags) : payload;
    if (fragment === undefined) return undefined;
    fragments.push(fragment);
    if ((header.flags & FLAG_END_HEADERS) !== 0) return fragments;
    at = end;
    if (at + FRAME_HEADER_BYTES > bytes.length) return at + FRAME_HEADER_BYTES;
    header = readFrameHeader(bytes, at);
    if (header.type !== CONTINUATION || header.stream !== headers.stream) return undefined;
  }
}

/** What a HEADERS frame holds of its block, without padding and priority: RFC 9113, section 6.2. */
function withoutPadding(payload: Buffer, flags: number): Buffer | undefined {
  const padded = (flags & FLAG_PADDED) !== 0;
  const padding = padded ? (payload[0] ?? 0) : 0;
  const from = (padded ? 1 : 0) + ((flags & FLAG_PRIORITY) !== 0 ? PRIORITY_BYTES : 0);
  const to = payload.length - padding;
  return from > to ? undefined : payload.subarray(from, to);
}

function mendFragments(fragments: readonly Buffer[]): Authority {
  const [only] = fragments;
  if (only !== undefined && fragments.length === 1) return mendHeaderBlock(only);
  const block = Buffer.concat(fragments);
  const authority = mendHeaderBlock(block);
  let at = 0;
  for (const fragment of fragments) at += block.copy(fragment, 0, at);
  return authority;
}

function isSettingsAck({ length, type, flags, stream }: FrameHeader): boolean {
  return type === SETTINGS && (flags & FLAG_ACK) !== 0 && length === 0 && stream === 0;
}

function readFrameHeader(bytes: Buffer, at: number): FrameHeader {
  return {
    length: bytes.readUIntBE(at, 3),
    type: bytes[at + 3] ?? 0,
    flags: bytes[at + 4] ?? 0,
    stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
  };
}
