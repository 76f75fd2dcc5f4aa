/** Connections, calls and ciphertexts of a client that floods. */
import { createHash } from 'node:crypto';
import { encodeDecryptRequest, encodeEncryptRequest } from '../../src/kms/codec/v2.ts';
import {
  createHeaderWriter,
  type Headers,
  lastData,
  OPENING,
  openConnection,
  prefixed,
  type RawConnection,
} from '../fuzz/raw-connection.ts';
import type { Plugin } from '../servers/plugin.ts';
import { frame, PREFACE } from '../unit/authority/http2-bytes.ts';

export const STATUS = '/v2.KeyManagementService/Status';
export const ENCRYPT = '/v2.KeyManagementService/Encrypt';
export const ENCRYPT_V1 = '/v1beta1.KeyManagementService/Encrypt';
export const DECRYPT = '/v2.KeyManagementService/Decrypt';
export const OK = 'grpc-status 0';
export const INVALID = 'grpc-status 3';
export const EXHAUSTED = 'grpc-status 8';
export const UNIMPLEMENTED = 'grpc-status 12';
/** Of a call beyond the limit, one that was answered, and one whose time passed on a busy machine. */
export const KNOWN_ENDS = [EXHAUSTED, OK, 'grpc-status 4', 'grpc-status 14'];
export const NOTHING = Buffer.alloc(0);

const WINDOW_UPDATE = 8;
/** The preface, SETTINGS, and room for the answers of as many calls as a connection may ever have. */
export const HELLO = Buffer.concat([
  OPENING,
  frame(WINDOW_UPDATE, 0, 0, Buffer.of(0x7f, 0xff, 0, 0)),
]);

/** So many connections that have said hello. */
export function connections(
  { socket }: Pick<Plugin, 'socket'>,
  count: number,
  first = HELLO,
  // An acknowledgement before the preface is none: such a connection is closed at once.
  acknowledges = first.length >= PREFACE.length,
): Promise<RawConnection[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const connection = await openConnection(socket, { acknowledges });
      if (first.length > 0 && !connection.isClosed()) connection.socket.write(first);
      return connection;
    }),
  );
}

export async function leave(all: readonly RawConnection[]): Promise<void> {
  for (const { socket } of all) socket.destroy();
  await Promise.all(all.map(({ closed }) => closed));
}

/** The numbers of the first so many streams of a client. */
export const streams = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => 2 * i + 1);

/** How many streams have ended in each way. */
export function endsOf(all: readonly RawConnection[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { ends } of all) {
    for (const end of ends.values()) counts.set(end, (counts.get(end) ?? 0) + 1);
  }
  return counts;
}

export function endedOf(all: readonly RawConnection[]): number {
  return all.reduce((sum, { ends }) => sum + ends.size, 0);
}

/** Whole calls of one connection, in one piece. */
export function callsOf(
  ids: readonly number[],
  path: string,
  message: (id: number) => Uint8Array,
  more: Headers = {},
): Buffer {
  const headers = createHeaderWriter();
  return Buffer.concat(
    ids.flatMap((id) => [headers.headers(id, path, more), lastData(id, prefixed(message(id)))]),
  );
}

/** As the fake Vault has them: a plaintext of so many bytes, which begins with a hash of the name. */
export function ciphertextOf(name: string, length = 32): string {
  const plaintext = Buffer.alloc(length);
  plaintext.set(createHash('sha256').update(name).digest());
  const body = Buffer.concat([Buffer.alloc(12), plaintext, Buffer.alloc(16)]);
  return `vault:v1:${body.toString('base64')}`;
}

export function decryptOf(name: string): Uint8Array {
  return encodeDecryptRequest({
    ciphertext: Buffer.from(ciphertextOf(name)),
    uid: name,
    key_id: 'vault:v1:0123456789abcdef0123456789abcdef',
    annotations: new Map(),
  });
}

export function encryptOf(bytes = 32): Uint8Array {
  return encodeEncryptRequest({ plaintext: Buffer.alloc(bytes, 1), uid: 'u' });
}

/** Status, with a field of so many bytes that nobody knows. */
export function statusWith(bytes: number): Buffer {
  const length: number[] = [];
  for (let left = bytes; left > 0; left >>>= 7)
    length.push((left & 0x7f) | (left > 0x7f ? 128 : 0));
  return Buffer.concat([Buffer.of(0x7a, ...length), Buffer.alloc(bytes)]);
}
