/** What a hostile or careless client writes on one connection, drawn from a seed. */
import { encodeEncryptRequest } from '../../src/kms/codec/v2.ts';
import {
  CONTINUATION,
  DATA,
  END_HEADERS,
  frame,
  GOAWAY,
  HEADERS,
  PING,
} from '../unit/authority/http2-bytes.ts';
import { createHeaderWriter, lastData, OPENING, prefixed, resetFrame } from './raw-connection.ts';

/** One connection: what is written, piece by piece, and how it ends. */
export type Script = {
  readonly pieces: readonly Buffer[];
  readonly reads: boolean;
  readonly end: 'destroy' | 'end' | 'wait';
  readonly frames: number;
  readonly calls: number;
};

export type Grammar = {
  script(): Script;
  /** A whole number below `count`. */
  below(count: number): number;
};

const PATHS = ['Status', 'Status', 'Encrypt', 'Decrypt', 'Steal'].map(
  (name) => `/v2.KeyManagementService/${name}`,
);
const AUTHORITIES = ['localhost', '/var/run/kms.sock', 'unix:///x', '@kms', ''];
const SETTINGS = 4;
const WINDOW_UPDATE = 8;

/** A grammar whose choices all follow from the seed. */
export function createGrammar(seed: number): Grammar {
  let state = seed >>> 0;
  /** mulberry32 */
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (count: number): number => Math.floor(random() * count);
  const one = <T>(of: readonly T[]): T => of[below(of.length)] as T;
  const bytes = (most: number): Buffer =>
    Buffer.from(Array.from({ length: below(most + 1) }, () => below(256)));

  const script = (): Script => {
    const writer = createHeaderWriter(one(AUTHORITIES), below(2) === 0);
    const parts: Buffer[] = [below(30) === 0 ? bytes(40) : OPENING];
    const steps = 1 + below(below(8) === 0 ? 400 : 12);
    let stream = 1;
    let calls = 0;
    const message = (): Buffer =>
      one([
        () => prefixed(Buffer.alloc(0)),
        () => prefixed(encodeEncryptRequest({ plaintext: Buffer.alloc(32, 7), uid: 'u' })),
        () => prefixed(bytes(64), below(2)),
        () => Buffer.concat([prefixed(bytes(9)), prefixed(bytes(9))]),
        () => prefixed(Buffer.alloc(4)).fill(0xff, 1, 1 + below(5)),
      ])();
    const headers = (): Record<string, string | undefined> =>
      one([
        () => ({}),
        () => ({ 'grpc-timeout': one(['1n', '1m', '5m', '3S', '597H', 'soon']) }),
        () => ({ 'content-type': one([undefined, 'text/plain', 'application/grpc+proto']) }),
        () => ({ 'grpc-encoding': one(['gzip', 'identity', 'x']) }),
        () => ({ ':method': one(['GET', 'HEAD', 'PUT', undefined]) }),
        () => ({ [`x-${below(1000)}`]: 'v'.repeat(below(9_000)) }),
      ])();
    const open = (): Buffer => {
      calls += 1;
      const id = stream;
      stream += 2;
      return writer.headers(id, one(PATHS), headers());
    };
    const next = (): Buffer => {
      calls += 1;
      stream += 2;
      return Buffer.alloc(0);
    };
    const actions: readonly (() => Buffer)[] = [
      () => Buffer.concat([open(), lastData(stream - 2, message())]),
      () =>
        Buffer.concat([open(), lastData(stream - 2, message()), resetFrame(stream - 2, below(14))]),
      () => Buffer.concat([open(), resetFrame(stream - 2, below(14))]),
      () =>
        Buffer.concat([
          open(),
          ...[...message()].map((b) => frame(DATA, 0, stream - 2, Buffer.of(b))),
        ]),
      open,
      // The whole message, of a client that does not end its request, with a deadline.
      () =>
        Buffer.concat([
          writer.headers(stream, one(PATHS), { 'grpc-timeout': one(['5m', '50m', '3S']) }),
          frame(DATA, 0, stream, prefixed(Buffer.alloc(0))),
          next(),
        ]),
      () => frame(PING, below(2), 0, Buffer.alloc(8)),
      () =>
        frame(SETTINGS, below(2), 0, Buffer.from([0, 1 + below(6), 0, 0, below(256), below(256)])),
      () => frame(SETTINGS, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])),
      () =>
        frame(WINDOW_UPDATE, 0, one([0, below(stream + 2)]), Buffer.from([below(128), 0, 0, 1])),
      () => frame(GOAWAY, 0, 0, Buffer.concat([Buffer.alloc(8), bytes(20)])),
      () => frame(2, 0, below(stream + 2), Buffer.alloc(5)),
      () => frame(HEADERS, 0, stream, writer.block(one(PATHS))),
      () => frame(CONTINUATION, one([0, END_HEADERS]), below(stream + 2), bytes(30)),
      () => frame(HEADERS, END_HEADERS | below(64), stream, bytes(60)),
      () => frame(below(256), below(256), below(stream + 2), bytes(60)),
      () => resetFrame(below(stream + 2), below(20)),
      () => lastData(below(stream + 2), bytes(60)),
    ];
    const favourite = below(6) === 0 ? one(actions) : undefined;
    for (let i = 0; i < steps; i += 1) parts.push((favourite ?? one(actions))());
    let whole = Buffer.concat(parts);
    if (below(3) === 0) whole = whole.subarray(0, below(whole.length + 1));
    const cuts = below(4) === 0 ? Math.min(whole.length, 200) : below(4);
    const at = [
      0,
      ...Array.from({ length: cuts }, () => below(whole.length + 1)).sort((a, b) => a - b),
    ];
    return {
      pieces: at.map((from, i) => whole.subarray(from, at[i + 1] ?? whole.length)),
      reads: below(6) > 0,
      end: one(['destroy', 'end', 'wait']),
      frames: parts.length,
      calls,
    };
  };
  return { script, below };
}
