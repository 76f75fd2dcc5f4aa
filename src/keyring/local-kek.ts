/**
 * A local KEK, as KEP-3299 calls it, for the one seed that a kube-apiserver asks for when it starts
 * while the provider is away. It is derived (HKDF, RFC 5869) from its source: an earlier seed, which
 * the provider's key has encrypted and which lies in etcd. The source goes with the new seed as an
 * annotation, so that whoever may decrypt with the provider's key can decrypt both, on any node; and
 * a node that has decrypted the earlier seed needs no provider for the new one either.
 *
 * The ciphertext is `local-kek:v<version>:<base64 of nonce, sealed bytes and tag>`, AES-256-GCM,
 * bound to its head and its source. The version is the one of the provider's key that made the source.
 */
import { hkdfSync } from 'node:crypto';
import { AEAD_KEY_BYTES, openAead, sealAead } from '../providers/aead.ts';
import { ciphertextForm } from '../providers/ciphertext.ts';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Encrypted } from './operations.ts';
import type { AnnouncedKey } from './state.ts';

/** Where the source lies beside what was encrypted under the KEK. */
export const KEK_SOURCE_ANNOTATION = 'kek-source.trousseau.io';

/** An earlier seed: what the provider made of it, and itself. */
export type KekSource = { readonly ciphertext: Uint8Array; readonly seed: Uint8Array };

/** Another context than any that kube-apiserver derives its DEKs in. */
const CONTEXT = 'trousseau.io/v1 local KEK';
const NO_SALT = Buffer.alloc(0);
/** A shorter one is no seed of kube-apiserver, and not worth a key. */
const LEAST_SEED_BYTES = 32;

const form = ciphertextForm('local-kek');

/** The version that a ciphertext under a local KEK names; undefined for every other ciphertext. */
export const versionUnderLocalKek = form.versionOf;

/** Whether a KEK can be derived from it. */
export function canBeSource(seed: Uint8Array): boolean {
  return seed.length >= LEAST_SEED_BYTES;
}

/** Encrypts without the provider. The source must have been made by the announced version. */
export function encryptUnder(
  { ciphertext: source, seed }: KekSource,
  { version, keyId }: AnnouncedKey,
  plaintext: Uint8Array,
): Encrypted {
  const kek = derive(seed);
  const head = `local-kek:v${version}:`;
  const sealed = sealAead(plaintext, kek, bound(head, source));
  kek.fill(0);
  const ciphertext = Buffer.from(`${head}${sealed.toString('base64')}`, 'latin1');
  return { ciphertext, keyId, version, kekSource: source };
}

/** What {@link encryptUnder} made, before its source is known; undefined where it cannot be whole. */
export type UnderLocalKek = { readonly head: string; readonly sealed: Buffer };

/** Undefined for what was cut, or is damaged in a way that shows. */
export function parseUnderLocalKek(ciphertext: Uint8Array): UnderLocalKek | undefined {
  const parsed = form.parse(ciphertext);
  return (
    parsed && {
      head: `local-kek:v${parsed.version}:`,
      sealed: Buffer.from(parsed.base64, 'base64'),
    }
  );
}

/** Decrypts it; fails with `invalid` where the source is not its own. Overwrites the source's seed. */
export function decryptUnder(
  { ciphertext: source, seed }: KekSource,
  { head, sealed }: UnderLocalKek,
): Result<Uint8Array> {
  const kek = canBeSource(seed) ? derive(seed) : undefined;
  seed.fill(0);
  const plaintext = kek && openAead(sealed, kek, bound(head, source));
  kek?.fill(0);
  return plaintext === undefined ? fail('invalid', NOT_ITS_SOURCE) : succeed(plaintext);
}

const NOT_ITS_SOURCE = `the ciphertext and its annotation ${KEK_SOURCE_ANNOTATION} do not belong together, or one of them was damaged`;

function derive(seed: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', seed, NO_SALT, CONTEXT, AEAD_KEY_BYTES));
}

function bound(head: string, source: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(head, 'latin1'), source]);
}
