/**
 * The proof that a key version works before it is announced: kube-apiserver keeps the first seed
 * that it gets for as long as it lives, so a key that cannot decrypt must never be offered.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';

const SAMPLE_BYTES = 32;

/**
 * Encrypts one sample under the version and decrypts it again. Fails with the provider's own error,
 * or with `internal` where what came back is not what was sent.
 */
export async function selfTest(
  provider: Provider,
  version: number,
  signal: AbortSignal,
): Promise<Result<void>> {
  const sample = randomBytes(SAMPLE_BYTES);
  const encrypted = (await provider.encrypt([sample], version, signal))[0];
  if (encrypted === undefined)
    return fail('internal', `${provider.name} answered no item to encrypt`);
  if (!encrypted.ok) return encrypted;
  return await verifyDecrypts(provider, encrypted.value, sample, signal);
}

/** Decrypts a ciphertext and fails unless exactly this plaintext comes back. */
export async function verifyDecrypts(
  provider: Provider,
  ciphertext: Uint8Array,
  plaintext: Uint8Array,
  signal: AbortSignal,
): Promise<Result<void>> {
  const decrypted = (await provider.decrypt([ciphertext], signal))[0];
  if (decrypted === undefined)
    return fail('internal', `${provider.name} answered no item to decrypt`);
  if (!decrypted.ok) return decrypted;
  const same =
    decrypted.value.length === plaintext.length && timingSafeEqual(decrypted.value, plaintext);
  decrypted.value.fill(0);
  if (!same) {
    return fail('internal', `${provider.name} decrypted a fresh ciphertext to something else`);
  }
  return succeed(undefined);
}
