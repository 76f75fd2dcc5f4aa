/**
 * The tag of AES-256-GCM by the letter of NIST SP 800-38D, in plain arithmetic and AES of single
 * blocks: slow, and made of nothing that the product uses for it.
 */
import { createCipheriv } from 'node:crypto';

const BLOCK = 16;
/** Section 6.3: the polynomial, its bits in GCM's order. */
const R = 0xe1n << 120n;

/** Section 7.1 for a nonce of 96 bits. */
export function gcmTag(
  key: Uint8Array,
  nonce: Uint8Array,
  additional: Uint8Array,
  ciphertext: Uint8Array,
): Buffer {
  const lengths = Buffer.alloc(BLOCK);
  lengths.writeBigUInt64BE(BigInt(additional.length * 8), 0);
  lengths.writeBigUInt64BE(BigInt(ciphertext.length * 8), 8);
  const h = numberOf(encryptBlock(key, Buffer.alloc(BLOCK)));
  const s = ghash(h, Buffer.concat([padded(additional), padded(ciphertext), lengths]));
  const first = Buffer.concat([nonce, Buffer.of(0, 0, 0, 1)]);
  const tag = s ^ numberOf(encryptBlock(key, first));
  return Buffer.from(tag.toString(16).padStart(2 * BLOCK, '0'), 'hex');
}

/** Section 6.4. */
function ghash(h: bigint, blocks: Buffer): bigint {
  let y = 0n;
  for (let at = 0; at < blocks.length; at += BLOCK) {
    y = multiply(y ^ numberOf(blocks.subarray(at, at + BLOCK)), h);
  }
  return y;
}

/** Section 6.3. */
function multiply(x: bigint, y: bigint): bigint {
  let z = 0n;
  let v = y;
  for (let i = 127n; i >= 0n; i -= 1n) {
    if (((x >> i) & 1n) === 1n) z ^= v;
    v = (v & 1n) === 1n ? (v >> 1n) ^ R : v >> 1n;
  }
  return z;
}

function encryptBlock(key: Uint8Array, block: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  return Buffer.concat([cipher.update(block), cipher.final()]);
}

function padded(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);
}

function numberOf(block: Buffer): bigint {
  return BigInt(`0x${block.toString('hex')}`);
}
