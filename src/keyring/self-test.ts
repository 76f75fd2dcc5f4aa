/**
 * The proof that a key version works before it is announced: kube-apiserver keeps the first seed
 * that it gets for as long as it lives, so a key that cannot decrypt must never be offered.
 */
import { randomBytes } from 'node:crypto';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import { sameAs } from './operations.ts';

const SAMPLE_BYTES = 32;

/** Random bytes that protect nothing, and what a key has made of them. */
export type Sample = { readonly plaintext: Uint8Array; readonly ciphertext: Uint8Array };

/**
 * Encrypts one sample under the version and decrypts it again. Fails with the provider's own error,
 * or with `internal` where what came back is not what was sent.
 */
export async function selfTest(
  provider: Provider,
  version: number,
  signal: AbortSignal,
): Promise<Result<Sample>> {
  const made = await encryptSample(provider, version, signal);
  if (!made.ok) return made;
  const same = await decryptSample(provider, made.value, signal);
  return same.ok ? made : same;
}

/** The first half of it. */
export async function encryptSample(
  provider: Provider,
  version: number,
  signal: AbortSignal,
): Promise<Result<Sample>> {
  const plaintext = randomBytes(SAMPLE_BYTES);
  const encrypted = (await provider.encrypt([plaintext], version, signal))[0];
  if (encrypted === undefined)
    return fail('internal', `${provider.name} answered no item to encrypt`);
  return encrypted.ok ? succeed({ plaintext, ciphertext: encrypted.value }) : encrypted;
}

/** The second half of it, with what the first one has made, now or earlier. */
export async function decryptSample(
  provider: Provider,
  { plaintext, ciphertext }: Sample,
  signal: AbortSignal,
): Promise<Result<void>> {
  const decrypted = (await provider.decrypt([ciphertext], signal))[0];
  if (decrypted === undefined)
    return fail('internal', `${provider.name} answered no item to decrypt`);
  return sameAs(plaintext, decrypted, provider.name);
}
