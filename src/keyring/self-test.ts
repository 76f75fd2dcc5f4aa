/**
 * The proof that a key version works before it is announced: kube-apiserver keeps the first seed
 * that it gets for as long as it lives, so a key that cannot decrypt must never be offered.
 */
import { randomBytes } from 'node:crypto';
import { fail, type ProviderErrorKind, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import { sameAs } from './operations.ts';

const SAMPLE_BYTES = 32;

/** Random bytes that protect nothing, and what a key has made of them. */
export type Sample = { readonly plaintext: Uint8Array; readonly ciphertext: Uint8Array };

/** What a key has made, and whether it is the key that has made what was given as a proof. */
export type Tested = { readonly sample: Sample; readonly isSameKey: boolean };

/**
 * Encrypts one sample under the version and decrypts it again. Fails with the provider's own error,
 * or with `internal` where what came back is not what was sent.
 *
 * @param proof what the announced key has encrypted before; undefined for none
 */
export async function selfTest(
  provider: Provider,
  version: number,
  proof: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<Result<Tested>> {
  const made = await encryptSample(provider, version, signal);
  return made.ok ? await decryptSample(provider, made.value, proof, signal) : made;
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

/**
 * The second half of it, with what the first one has made, now or earlier. One request: the sample
 * shows that the key works, and the proof that it is the announced one.
 */
export async function decryptSample(
  provider: Provider,
  sample: Sample,
  proof: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<Result<Tested>> {
  const proofs = proof === undefined ? [] : [proof];
  const [works, proved] = await provider.decrypt([sample.ciphertext, ...proofs], signal);
  if (proved?.ok === true) proved.value.fill(0);
  if (works === undefined) return fail('internal', `${provider.name} answered no item to decrypt`);
  const same = sameAs(sample.plaintext, works, provider.name);
  if (!same.ok) return same;
  if (proved === undefined || proved.ok) return succeed({ sample, isSameKey: true });
  if (isOfAnotherKey(proved.error.kind)) return succeed({ sample, isSameKey: false });
  // Policy has retired it. An answer that is uncertain must not replace the proof.
  return proved.error.retired === true ? succeed({ sample, isSameKey: true }) : proved;
}

/** Whether a key that works and fails so is another one than has made the ciphertext. */
export function isOfAnotherKey(kind: ProviderErrorKind): boolean {
  return kind === 'invalid' || kind === 'behind';
}
