/** A keyring file sealed under a passphrase (scrypt, RFC 7914) or a key of 32 bytes: AES-256-GCM. */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';

/** What opens a sealed keyring. */
export type SealSecret =
  | { readonly kind: 'passphrase'; readonly bytes: Buffer }
  | { readonly kind: 'key'; readonly bytes: Buffer };

/** Beside the sealed bytes in the file; base64 for what is binary. */
export type Seal =
  | { readonly kind: 'key'; readonly nonce: string }
  | {
      readonly kind: 'passphrase';
      readonly nonce: string;
      readonly salt: string;
      readonly logN: number;
    };

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SALT_BYTES = 16;
/** 64 MiB and a fifth of a second: once a start, and dear for whoever guesses. */
const LOG_N = 16;
/** A file that asks for more would be a way to use up the memory. */
const MOST_LOG_N = 18;
const R = 8;

/** Seals; the header of the file is bound to it, so that neither can be exchanged. */
export async function seal(
  content: Buffer,
  secret: SealSecret,
  header: string,
): Promise<{ readonly seal: Seal; readonly sealed: Buffer }> {
  const nonce = randomBytes(NONCE_BYTES);
  const common = { nonce: nonce.toString('base64') };
  const salt = randomBytes(SALT_BYTES).toString('base64');
  const made: Seal =
    secret.kind === 'key'
      ? { kind: 'key', ...common }
      : { kind: 'passphrase', ...common, salt, logN: LOG_N };
  const cipher = createCipheriv('aes-256-gcm', await keyFor(made, secret), nonce);
  cipher.setAAD(Buffer.from(header));
  return {
    seal: made,
    sealed: Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]),
  };
}

/** Opens; undefined where the secret or the file is not the right one. */
export async function unseal(
  sealed: Buffer,
  made: Seal,
  secret: SealSecret,
  header: string,
): Promise<Buffer | undefined> {
  const nonce = Buffer.from(made.nonce, 'base64');
  if (made.kind !== secret.kind || nonce.length !== NONCE_BYTES || sealed.length < TAG_BYTES)
    return undefined;
  const decipher = createDecipheriv('aes-256-gcm', await keyFor(made, secret), nonce);
  decipher.setAAD(Buffer.from(header));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
  } catch {
    return undefined; // final() throws for exactly one reason: it does not authenticate
  }
}

/** A key of 32 bytes, raw, in hexadecimal or in base64; undefined where it is none of these. */
export function sealKey(bytes: Buffer): Buffer | undefined {
  if (bytes.length === KEY_BYTES) return bytes;
  const text = bytes.toString('latin1').trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex');
  if (/^[A-Za-z0-9+/]{43}=$/.test(text)) return Buffer.from(text, 'base64');
  return undefined;
}

function keyFor(made: Seal, secret: SealSecret): Promise<Buffer> {
  if (made.kind === 'key') return Promise.resolve(secret.bytes);
  const { logN } = made;
  const salt = Buffer.from(made.salt, 'base64');
  if (!Number.isInteger(logN) || logN < 10 || logN > MOST_LOG_N) {
    return Promise.reject(
      new Error(`the keyring asks for scrypt with N = 2^${logN}, which is out of bounds`),
    );
  }
  const N = 2 ** logN;
  return new Promise((resolve, reject) => {
    scrypt(secret.bytes, salt, KEY_BYTES, { N, r: R, p: 1, maxmem: 256 * N * R }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}
