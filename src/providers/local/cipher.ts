/**
 * Ciphertexts of the local keyring: `local:v<version>:<base64 of nonce, sealed bytes and tag>`,
 * AES-256-GCM with a random nonce, bound to the keyring and the version: rotate long before 2^32 of
 * them.
 */
import type { KeyObject } from 'node:crypto';
import { AEAD_OVERHEAD_BYTES, openAead, sealAead } from '../aead.ts';
import { ciphertextForm } from '../ciphertext.ts';

const form = ciphertextForm('local');

/** What a ciphertext is bound to beside its key. */
export type Binding = { readonly keyringId: string; readonly version: number };

/** Seals a plaintext; `nonce` is random unless a test vector gives one. */
export function encrypt(
  plaintext: Uint8Array,
  key: KeyObject,
  binding: Binding,
  nonce?: Buffer,
): Buffer {
  const sealed = sealAead(plaintext, key, additionalData(binding), nonce);
  return Buffer.from(`local:v${binding.version}:${sealed.toString('base64')}`, 'latin1');
}

/** Opens what {@link encrypt} made; undefined where it does not authenticate. */
export function decrypt(sealed: Buffer, key: KeyObject, binding: Binding): Buffer | undefined {
  return openAead(sealed, key, additionalData(binding));
}

/** The version that a ciphertext names; undefined where it is not ours. Looks at its head alone. */
export const versionOf = form.versionOf;

/** Version and sealed bytes of a ciphertext that could be whole; undefined for everything else. */
export function parse(ciphertext: Uint8Array): { version: number; sealed: Buffer } | undefined {
  const parsed = form.parse(ciphertext);
  if (parsed === undefined || parsed.bytes <= AEAD_OVERHEAD_BYTES) return undefined;
  return { version: parsed.version, sealed: Buffer.from(parsed.base64, 'base64') };
}

function additionalData({ keyringId, version }: Binding): Buffer {
  return Buffer.from(`${keyringId}:${version}`);
}
