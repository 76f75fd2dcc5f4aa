/**
 * A local KEK, as KEP-3299 calls it: a key of this process that the provider has wrapped beforehand.
 * While the provider is away a seed is encrypted under it; the wrapped KEK goes with the seed as an
 * annotation, so that whoever may decrypt with the provider's key can decrypt the seed too, on any
 * node and without anything that only this process knows.
 *
 * The ciphertext is `local-kek:v<version>:<base64 of nonce, sealed bytes and tag>`, AES-256-GCM,
 * bound to the wrapped KEK. The version is the one of the provider's key that wrapped it.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { AEAD_KEY_BYTES, openAead, sealAead } from '../providers/aead.ts';
import { ciphertextForm } from '../providers/ciphertext.ts';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Encrypted } from './operations.ts';
import type { AnnouncedKey } from './state.ts';

/** Where a wrapped KEK lies beside what it has encrypted. */
export const LOCAL_KEK_ANNOTATION = 'local-kek.trousseau.io';

/** A key and what the provider made of it, proven by decrypting it again. */
export type WrappedKey = { readonly plaintext: Uint8Array; readonly ciphertext: Uint8Array };

export type LocalKek = {
  readonly key: KeyObject;
  readonly wrapped: Uint8Array;
  readonly announced: AnnouncedKey;
  /** When the provider wrapped it, in milliseconds since the epoch. */
  readonly at: number;
};

const form = ciphertextForm('local-kek');

/** The version that a ciphertext under a local KEK names; undefined for every other ciphertext. */
export const versionUnderLocalKek = form.versionOf;

/** A local KEK of what has been wrapped under the announced key; the bytes given are overwritten. */
export function localKek(made: WrappedKey, announced: AnnouncedKey, at: number): LocalKek {
  const key = createSecretKey(made.plaintext);
  made.plaintext.fill(0);
  return { key, wrapped: made.ciphertext, announced, at };
}

/** Encrypts without the provider. */
export function encryptUnder(kek: LocalKek, plaintext: Uint8Array): Encrypted {
  const { version, keyId } = kek.announced;
  const sealed = sealAead(plaintext, kek.key, kek.wrapped).toString('base64');
  const ciphertext = Buffer.from(`local-kek:v${version}:${sealed}`, 'latin1');
  return { ciphertext, keyId, version, wrappedKek: kek.wrapped };
}

/**
 * Decrypts what {@link encryptUnder} made, once the provider has unwrapped its KEK. Fails with
 * `invalid` where the three do not belong together.
 *
 * @param kek overwritten after it was used
 */
export function decryptUnder(
  kek: Uint8Array,
  wrapped: Uint8Array,
  ciphertext: Uint8Array,
): Result<Uint8Array> {
  const parsed = form.parse(ciphertext);
  const plaintext =
    parsed === undefined || kek.length !== AEAD_KEY_BYTES
      ? undefined
      : openAead(Buffer.from(parsed.base64, 'base64'), kek, wrapped);
  kek.fill(0);
  return plaintext === undefined
    ? fail(
        'invalid',
        `the ciphertext and its annotation ${LOCAL_KEK_ANNOTATION} do not belong together, or one of them was damaged`,
      )
    : succeed(plaintext);
}
