/**
 * AES-256-GCM with a random nonce of 96 bits: nonce, sealed bytes and tag in one piece. NIST SP
 * 800-38D allows 2^32 messages with random nonces under one key.
 */
import { type CipherKey, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** What a key has. */
export const AEAD_KEY_BYTES = 32;
/** By how much what is sealed is longer than what went into it. */
export const AEAD_OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES;

/** Seals, bound to `bound`; `nonce` is random unless a test vector gives one. */
export function sealAead(
  plaintext: Uint8Array,
  key: CipherKey,
  bound: Uint8Array,
  nonce: Buffer = randomBytes(NONCE_BYTES),
): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(bound);
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** Opens what {@link sealAead} made; undefined where it does not authenticate or is too short. */
export function openAead(sealed: Buffer, key: CipherKey, bound: Uint8Array): Buffer | undefined {
  if (sealed.length < AEAD_OVERHEAD_BYTES) return undefined;
  const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES))
    .setAAD(bound)
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  const plaintext = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
  try {
    decipher.final();
    return plaintext;
  } catch {
    plaintext.fill(0);
    return undefined; // final() throws for exactly one reason: it does not authenticate
  }
}
