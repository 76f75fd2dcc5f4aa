/**
 * Finding and mending `:authority` in a header block: RFC 7541, section 6.
 *
 * A block is walked without a dynamic table. An authority appears as a value when its name is given
 * by the static table or spelled out; from then on a client that indexed it sends only the number
 * of the entry, which holds the mended value. The one form that is not found is a new value whose
 * name is taken from the dynamic table: the static table has the name, and encoders search it first
 * (grpc-go, nghttp2).
 */
import { isAllowedInAuthority, substituteFor } from './host.ts';
import { codeOf, type Mending, mendHuffman } from './huffman.ts';

/**
 * What became of the authority in a block. `absent`: none is written out in it, since it is indexed
 * or missing; `unknown`: it cannot be mended, or the block cannot be read.
 */
export type Authority = 'good' | 'mended' | 'absent' | 'unknown';

type Cursor = { readonly bytes: Uint8Array; at: number };
type Text = { readonly bytes: Uint8Array; readonly huffman: boolean };

const STATIC_AUTHORITY = 1;
const MALFORMED = -1;
const MAX_INTEGER = 2 ** 24;

const PLAIN_NAME = Uint8Array.from(Buffer.from(':authority', 'latin1'));
const HUFFMAN_NAME = huffmanBytes(PLAIN_NAME);

/**
 * Mends, in place and without changing a length, the values of `:authority` in a whole header block.
 * A block that cannot be read to its end is left as it came.
 */
export function mendHeaderBlock(block: Uint8Array): Authority {
  const values: Text[] = [];
  const cursor: Cursor = { bytes: block, at: 0 };
  while (cursor.at < block.length) {
    if (!walkField(cursor, values)) return 'unknown';
  }
  if (values.length === 0) return 'absent';
  const mendings = values.map(mendText);
  if (mendings.includes('refused')) return 'unknown';
  return mendings.includes('mended') ? 'mended' : 'good';
}

/** Steps over one representation, and adds its value if it is an authority; false if malformed. */
function walkField(cursor: Cursor, values: Text[]): boolean {
  const first = cursor.bytes[cursor.at] ?? 0;
  // Indexed field (6.1), and size update (6.3): an integer and nothing behind it.
  if ((first & 0x80) !== 0) return readInteger(cursor, 7) !== MALFORMED;
  if ((first & 0xe0) === 0x20) return readInteger(cursor, 5) !== MALFORMED;
  // Literal with indexing (6.2.1), without (6.2.2), and never indexed (6.2.3).
  const nameIndex = readInteger(cursor, (first & 0x40) !== 0 ? 6 : 4);
  if (nameIndex === MALFORMED) return false;
  const name = nameIndex === 0 ? readText(cursor) : undefined;
  if (nameIndex === 0 && name === undefined) return false;
  const value = readText(cursor);
  if (value === undefined) return false;
  const isAuthority = name === undefined ? nameIndex === STATIC_AUTHORITY : isAuthorityName(name);
  if (isAuthority) values.push(value);
  return true;
}

/** RFC 7541, section 5.1; MALFORMED where it is cut short, or larger than any block held here. */
function readInteger(cursor: Cursor, prefixBits: number): number {
  const mask = 2 ** prefixBits - 1;
  const prefix = (cursor.bytes[cursor.at++] ?? 0) & mask;
  if (prefix < mask) return prefix;
  let value = prefix;
  for (let weight = 1; value <= MAX_INTEGER; weight *= 128) {
    const byte = cursor.bytes[cursor.at++];
    if (byte === undefined) return MALFORMED;
    value += (byte & 0x7f) * weight;
    if ((byte & 0x80) === 0) return value;
  }
  return MALFORMED;
}

/** RFC 7541, section 5.2. */
function readText(cursor: Cursor): Text | undefined {
  const first = cursor.bytes[cursor.at];
  if (first === undefined) return undefined;
  const length = readInteger(cursor, 7);
  if (length === MALFORMED || cursor.at + length > cursor.bytes.length) return undefined;
  const bytes = cursor.bytes.subarray(cursor.at, cursor.at + length);
  cursor.at += length;
  return { bytes, huffman: (first & 0x80) !== 0 };
}

/** A text has exactly one Huffman form, its padding being fixed. */
function isAuthorityName({ bytes, huffman }: Text): boolean {
  const expected = huffman ? HUFFMAN_NAME : PLAIN_NAME;
  return bytes.length === expected.length && expected.every((byte, i) => byte === bytes[i]);
}

function mendText({ bytes, huffman }: Text): Mending {
  if (huffman) return mendHuffman(bytes);
  let mending: Mending = bytes.length === 0 ? 'refused' : 'good';
  for (const [i, byte] of bytes.entries()) {
    if (isAllowedInAuthority(byte)) continue;
    bytes[i] = substituteFor(byte);
    mending = 'mended';
  }
  return mending;
}

function huffmanBytes(text: Uint8Array): Uint8Array {
  const codes = [...text].map(codeOf);
  const bits = codes.map(({ bits, length }) => bits.toString(2).padStart(length, '0')).join('');
  const octets = bits.match(/.{1,8}/g) ?? [];
  return Uint8Array.from(octets, (octet) => Number.parseInt(octet.padEnd(8, '1'), 2));
}
