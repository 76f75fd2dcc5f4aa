/**
 * A local KEK, as KEP-3299 calls it, for the one seed that a kube-apiserver asks for when it starts
 * while the provider is away. It is random, made for that seed, and encrypted under keys derived
 * (HKDF, RFC 5869) from earlier seeds, its sources, which the provider's key has encrypted. Sources
 * and encrypted KEK go with the seed as an annotation: whoever may decrypt with the provider's key
 * can decrypt all of them, on any node, and a node that knows one of the sources needs no provider.
 *
 * The ciphertext is `local-kek:v<version>:<base64>`, the annotation one line for each source,
 * `<ciphertext of the source> <base64>`. What is base64 is nonce, sealed bytes and tag of
 * AES-256-GCM. The version is the one of the provider's key that made the sources.
 */
import { hkdfSync, randomBytes } from 'node:crypto';
import { AEAD_KEY_BYTES, openAead, sealAead } from '../providers/aead.ts';
import { CANONICAL_BASE64, ciphertextForm } from '../providers/ciphertext.ts';
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Encrypted } from './operations.ts';
import type { AnnouncedKey } from './state.ts';

/** Where the encrypted KEK lies beside what was encrypted under it. */
export const LOCAL_KEK_ANNOTATION = 'local-kek.trousseau.io';

/** An earlier seed: what the provider made of it, and itself. */
export type KekSource = { readonly ciphertext: Uint8Array; readonly seed: Uint8Array };

/** A KEK as one source has encrypted it. */
export type WrappedKek = { readonly source: Buffer; readonly sealed: Buffer };

/** What {@link encryptUnder} made, taken apart. */
export type UnderLocalKek = {
  readonly head: string;
  readonly sealed: Buffer;
  /** At least one. */
  readonly wrapped: readonly WrappedKek[];
};

/** Another context than any that kube-apiserver derives its DEKs in. */
const CONTEXT = 'trousseau.io/v1 local KEK';
const NO_SALT = Buffer.alloc(0);
/** A shorter one is no seed of kube-apiserver, and not worth a key. */
const LEAST_SEED_BYTES = 32;
/** More than are ever written. */
const MOST_SOURCES = 16;

const form = ciphertextForm('local-kek');
const LINE = /^([!-~]+) ([A-Za-z0-9+/=]+)$/;

/** The version that a ciphertext under a local KEK names; undefined for every other ciphertext. */
export const versionUnderLocalKek = form.versionOf;

/** Whether a KEK can be encrypted under what is derived from it. */
export function canBeSource({ ciphertext, seed }: KekSource): boolean {
  return seed.length >= LEAST_SEED_BYTES && ciphertext.every((byte) => byte > 0x20 && byte < 0x7f);
}

/** Encrypts without the provider. The sources, one at least, are those of the announced version. */
export function encryptUnder(
  sources: readonly KekSource[],
  { version, keyId }: AnnouncedKey,
  plaintext: Uint8Array,
): Encrypted {
  const kek = randomBytes(AEAD_KEY_BYTES);
  const head = `local-kek:v${version}:`;
  const sealed = sealAead(plaintext, kek, Buffer.from(head)).toString('base64');
  const lines = sources.map(({ ciphertext, seed }) => {
    const source = Buffer.from(ciphertext);
    const wrapped = sealAead(kek, derive(seed), boundTo(head, source)).toString('base64');
    return `${source.toString('latin1')} ${wrapped}`;
  });
  kek.fill(0);
  const ciphertext = Buffer.from(`${head}${sealed}`, 'latin1');
  return { ciphertext, keyId, version, localKek: Buffer.from(lines.join('\n'), 'latin1') };
}

/** Takes apart; fails with `invalid` where something is missing, was cut, or is damaged so that it shows. */
export function parseUnderLocalKek(
  ciphertext: Uint8Array,
  annotation: Uint8Array | undefined,
): Result<UnderLocalKek> {
  const parsed = form.parse(ciphertext);
  if (parsed === undefined) return fail('invalid', DAMAGED);
  if (annotation === undefined) return fail('invalid', MISSING);
  const lines = Buffer.from(annotation)
    .toString('latin1')
    .split('\n', MOST_SOURCES + 1);
  const wrapped = lines.flatMap((line): WrappedKek[] => {
    const [, source, base64] = LINE.exec(line) ?? [];
    if (source === undefined || base64 === undefined || !CANONICAL_BASE64.test(base64)) return [];
    return [{ source: Buffer.from(source, 'latin1'), sealed: Buffer.from(base64, 'base64') }];
  });
  if (wrapped.length !== lines.length || lines.length > MOST_SOURCES)
    return fail('invalid', NOT_ITS_KEK);
  const head = `local-kek:v${parsed.version}:`;
  return succeed({ head, sealed: Buffer.from(parsed.base64, 'base64'), wrapped });
}

/** Decrypts with one of its sources, the seed of which is overwritten; `invalid` where it is not one. */
export function decryptUnder(
  { head, sealed }: UnderLocalKek,
  wrapped: WrappedKek,
  seed: Uint8Array,
): Result<Uint8Array> {
  const kek = openAead(wrapped.sealed, derive(seed), boundTo(head, wrapped.source));
  seed.fill(0);
  const plaintext =
    kek?.length === AEAD_KEY_BYTES ? openAead(sealed, kek, Buffer.from(head)) : undefined;
  kek?.fill(0);
  return plaintext === undefined ? fail('invalid', NOT_ITS_KEK) : succeed(plaintext);
}

const DAMAGED = 'the ciphertext was made under a local KEK, and was cut or damaged';
const MISSING = `the ciphertext was made under a local KEK, and the annotation ${LOCAL_KEK_ANNOTATION} that holds it is missing`;
const NOT_ITS_KEK = `the ciphertext and its annotation ${LOCAL_KEK_ANNOTATION} do not belong together, or one of them was damaged`;

function derive(seed: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', seed, NO_SALT, CONTEXT, AEAD_KEY_BYTES));
}

function boundTo(head: string, source: Buffer): Buffer {
  return Buffer.concat([Buffer.from(head), source]);
}
