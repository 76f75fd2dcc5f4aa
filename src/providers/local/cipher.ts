/**
 * Ciphertexts of the local keyring: `local:v<version>:<base64 of nonce, sealed bytes and tag>`,
 * AES-256-GCM with a random nonce of 96 bits, bound to the keyring and the version. NIST SP 800-38D
 * allows 2^32 messages with random nonces under one key: rotate long before.
 */
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';
import { ciphertextForm } from '../ciphertext.ts';

const form = ciphertextForm('local');
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** What a ciphertext is bound to beside its key. */
export type Binding = { readonly keyringId: string; readonly version: number };

/** Seals a plaintext; `nonce` is random unless a test vector gives one. */
export function encrypt(
  plaintext: Uint8Array,
  key: KeyObject,
  binding: Binding,
  nonce: Buffer = randomBytes(NONCE_BYTES),
): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(additionalData(binding));
  const sealed = Buffer.concat([
    nonce,
    cipher.update(plaintext),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  return Buffer.from(`local:v${binding.version}:${sealed.toString('base64')}`, 'latin1');
}

/** Opens what {@link encrypt} made; undefined where it does not authenticate. */
export function decrypt(sealed: Buffer, key: KeyObject, binding: Binding): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES));
  decipher.setAAD(additionalData(binding)).setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([
      decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)),
      decipher.final(),
    ]);
  } catch {
    return undefined; // final() throws for exactly one reason: it does not authenticate
  }
}

/** The version that a ciphertext names; undefined where it is not ours. Looks at its head alone. */
export const versionOf = form.versionOf;

/** Version and sealed bytes of a ciphertext that could be whole; undefined for everything else. */
export function parse(ciphertext: Uint8Array): { version: number; sealed: Buffer } | undefined {
  const parsed = form.parse(ciphertext);
  if (parsed === undefined || parsed.bytes <= NONCE_BYTES + TAG_BYTES) return undefined;
  return { version: parsed.version, sealed: Buffer.from(parsed.base64, 'base64') };
}

function additionalData({ keyringId, version }: Binding): Buffer {
  return Buffer.from(`${keyringId}:${version}`);
}
