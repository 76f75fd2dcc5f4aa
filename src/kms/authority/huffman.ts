/**
 * Mending of Huffman-coded strings in place: RFC 7541, section 5.2 and appendix B.
 *
 * A symbol gives way only to one whose code is as long, so that neither the string nor the text in
 * it changes its length: the first would move every byte behind it, the second the size of its
 * entry in the dynamic table, and with it what the two sides evict (RFC 7541, section 4.1).
 */
import { isAllowedInAuthority, substituteFor } from './host.ts';

/** Bits of the code of each byte, 32 a line, and last of all of EOS. */
const CODE_LENGTHS: readonly number[] = [
  [13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28],
  [28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
  [6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6],
  [5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
  [13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
  [7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
  [15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5],
  [6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
  [20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23],
  [24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
  [22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23],
  [21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
  [26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25],
  [19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
  [20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23],
  [26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
  [30],
].flat();

const EOS = 256;
const LONGEST = 30;
const NO_SYMBOL = -1;

export type Code = { readonly bits: number; readonly length: number };

/** The codes of one length: they follow on each other, in the order of their symbols. */
type SameLength = { readonly first: number; readonly symbols: readonly number[] };

/**
 * The code is the canonical one for its lengths, so the lengths alone make the table: the codes of
 * one length are consecutive numbers, and the first follows the last shorter one.
 */
const BY_LENGTH: readonly SameLength[] = byLength();

function byLength(): SameLength[] {
  const table: SameLength[] = [];
  let next = 0;
  for (let length = 0; length <= LONGEST; length++) {
    const symbols = CODE_LENGTHS.flatMap((bits, symbol) => (bits === length ? [symbol] : []));
    table.push({ first: next, symbols });
    next = (next + symbols.length) * 2;
  }
  return table;
}

/** The code of a byte, or of EOS as 256. */
export function codeOf(symbol: number): Code {
  const length = CODE_LENGTHS[symbol] ?? 0;
  const same = BY_LENGTH[length];
  return { bits: same === undefined ? 0 : same.first + same.symbols.indexOf(symbol), length };
}

/** What became of a string: nothing was wrong, all of it was mended, or it was left as it came. */
export type Mending = 'good' | 'mended' | 'refused';

type Edit = { readonly bitOffset: number; readonly code: Code };

/**
 * Mends a Huffman-coded authority in place. It is left as it came where a symbol has no substitute
 * of its length (`#`, `<`, `>`, `\`, `^`, a backquote, braces, control characters, everything beyond
 * ASCII), where it is empty, and where it is not Huffman code.
 */
export function mendHuffman(bytes: Uint8Array): Mending {
  const edits: Edit[] = [];
  const end = bytes.length * 8;
  let at = 0;
  while (true) {
    const symbol = symbolAt(bytes, at);
    if (symbol === NO_SYMBOL) break;
    const length = CODE_LENGTHS[symbol] ?? 0;
    if (!isAllowedInAuthority(symbol)) {
      const code = codeOf(substituteFor(symbol));
      if (code.length !== length) return 'refused';
      edits.push({ bitOffset: at, code });
    }
    at += length;
  }
  if (at === 0 || !isPadding(bytes, at, end)) return 'refused';
  for (const edit of edits) writeBits(bytes, edit);
  return edits.length > 0 ? 'mended' : 'good';
}

/** The symbol whose code begins at this bit, or NO_SYMBOL where none is whole. */
function symbolAt(bytes: Uint8Array, bitOffset: number): number {
  const end = bytes.length * 8;
  let code = 0;
  for (let length = 1; length <= LONGEST && bitOffset + length <= end; length++) {
    code = code * 2 + bitAt(bytes, bitOffset + length - 1);
    const same = BY_LENGTH[length];
    const symbol = same?.symbols[code - same.first];
    if (symbol !== undefined) return symbol === EOS ? NO_SYMBOL : symbol;
  }
  return NO_SYMBOL;
}

/** Padding is less than a byte of ones: RFC 7541, section 5.2. */
function isPadding(bytes: Uint8Array, from: number, end: number): boolean {
  if (end - from > 7) return false;
  for (let at = from; at < end; at++) if (bitAt(bytes, at) === 0) return false;
  return true;
}

function bitAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at >> 3] ?? 0) >> (7 - (at & 7))) & 1;
}

function writeBits(bytes: Uint8Array, { bitOffset, code }: Edit): void {
  for (let i = 0; i < code.length; i++) {
    const at = bitOffset + i;
    const mask = 0x80 >> (at & 7);
    const byte = bytes[at >> 3] ?? 0;
    const bit = (code.bits >> (code.length - 1 - i)) & 1;
    bytes[at >> 3] = bit === 1 ? byte | mask : byte & ~mask;
  }
}
