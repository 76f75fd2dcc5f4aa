/**
 * The form of a keyring file: JSON with a head in clear and the keys, in base64 or sealed.
 *
 *     {"kind":"trousseau-keyring","version":1,"id":"<16 bytes in hex>","current":2,
 *      "keys":[{"version":1,"createdAt":"2026-01-01T00:00:00.000Z","key":"<32 bytes in base64>"}, ...]}
 *
 * Sealed, `seal` and `sealed` stand in the place of `keys`.
 */
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { type Seal, type SealSecret, seal, unseal } from './seal.ts';

export type KeyringKey = {
  readonly version: number;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly key: KeyObject;
};

export type Keyring = {
  /** The same in every copy of the file; part of key_id. */
  readonly id: string;
  /** The version that encrypts. */
  readonly current: number;
  /** Ascending by version; never empty. */
  readonly keys: readonly KeyringKey[];
};

/** Why a keyring cannot be read, as a sentence that says what to do. */
export type KeyringProblem = { readonly problem: string };

const KIND = 'trousseau-keyring';
const FORMAT = 1;
const KEY_BYTES = 32;
const base64 = v.pipe(v.string(), v.base64());
/** What the head of a ciphertext has room for. */
const keyVersion = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(999_999_999));
const keys = v.pipe(
  v.array(
    v.strictObject({
      version: keyVersion,
      createdAt: v.pipe(
        v.string(),
        v.isoTimestamp(),
        // ISO 8601 has forms that JavaScript does not read.
        v.check((text) => Number.isFinite(Date.parse(text))),
      ),
      key: base64,
    }),
  ),
  v.minLength(1),
);
const head = {
  kind: v.literal(KIND),
  version: v.literal(FORMAT),
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
  current: keyVersion,
};
const fileSchema = v.union([
  v.strictObject({ ...head, keys }),
  v.strictObject({
    ...head,
    seal: v.union([
      v.strictObject({ kind: v.literal('key'), nonce: base64 }),
      v.strictObject({
        kind: v.literal('passphrase'),
        nonce: base64,
        salt: base64,
        logN: v.number(),
      }),
    ]),
    sealed: base64,
  }),
]);

/** A keyring with one fresh key. */
export function newKeyring(now: number): Keyring {
  return { id: randomBytes(16).toString('hex'), current: 1, keys: [freshKey(1, now)] };
}

/** The same keyring with one more version, which encrypts from now on; the old ones stay. */
export function rotated(keyring: Keyring, now: number): Keyring {
  const version = Math.max(...keyring.keys.map((key) => key.version)) + 1;
  return { ...keyring, current: version, keys: [...keyring.keys, freshKey(version, now)] };
}

function freshKey(version: number, now: number): KeyringKey {
  const bytes = randomBytes(KEY_BYTES);
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return { version, createdAt: now, key };
}

/** The text of the file, sealed where there is a secret. */
export async function serialise(keyring: Keyring, secret: SealSecret | undefined): Promise<string> {
  const { id, current } = keyring;
  const top = { kind: KIND, version: FORMAT, id, current };
  const entries = keyring.keys.map(({ version, createdAt, key }) => ({
    version,
    createdAt: new Date(createdAt).toISOString(),
    key: key.export().toString('base64'),
  }));
  if (secret === undefined) return `${JSON.stringify({ ...top, keys: entries }, undefined, 1)}\n`;
  const content = Buffer.from(JSON.stringify(entries));
  const { seal: made, sealed } = await seal(content, secret, headerOf(top));
  content.fill(0);
  return `${JSON.stringify({ ...top, seal: made, sealed: sealed.toString('base64') }, undefined, 1)}\n`;
}

/** A keyring file whose form is right, and whose keys have not been looked at. */
export type KeyringForm = v.InferOutput<typeof fileSchema>;

/** Whether a text is a keyring file at all. */
export function formOf(text: string): KeyringForm | KeyringProblem {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return {
      problem:
        'it is not JSON: it was cut or damaged, or is no keyring; restore the keyring from a copy',
    };
  }
  const read = v.safeParse(fileSchema, json);
  return read.success
    ? read.output
    : { problem: 'it is not a keyring of this version of trousseau' };
}

/** Reads what {@link serialise} wrote. */
export async function parse(
  text: string,
  secret: SealSecret | undefined,
): Promise<Keyring | KeyringProblem> {
  const form = formOf(text);
  return 'problem' in form ? form : await keyringIn(form, secret);
}

/** Opens a keyring file. */
export async function keyringIn(
  file: KeyringForm,
  secret: SealSecret | undefined,
): Promise<Keyring | KeyringProblem> {
  if ('keys' in file) {
    if (secret !== undefined) {
      return {
        problem:
          'it is not sealed, but a passphrase or sealing key is configured: remove that, or seal it with a new keyring',
      };
    }
    return keyringOf(file.id, file.current, file.keys);
  }
  if (secret === undefined) {
    return {
      problem: `it is sealed under a ${file.seal.kind}: name the file with it (passphraseFile or sealKeyFile)`,
    };
  }
  const content = await unseal(
    Buffer.from(file.sealed, 'base64'),
    file.seal satisfies Seal,
    secret,
    headerOf(file),
  );
  if (content === undefined)
    return { problem: 'the passphrase or sealing key does not open it, or it was changed' };
  const entries = v.safeParse(keys, JSON.parse(content.toString('utf8')));
  content.fill(0);
  return entries.success
    ? keyringOf(file.id, file.current, entries.output)
    : { problem: 'what was sealed in it is no list of keys' };
}

function headerOf(top: { kind: string; version: number; id: string; current: number }): string {
  return JSON.stringify([top.kind, top.version, top.id, top.current]);
}

function keyringOf(
  id: string,
  current: number,
  entries: v.InferOutput<typeof keys>,
): Keyring | KeyringProblem {
  const parsed: KeyringKey[] = [];
  for (const { version, createdAt, key } of entries) {
    const bytes = Buffer.from(key, 'base64');
    if (bytes.length !== KEY_BYTES)
      return { problem: `version ${version} in it has no key of 32 bytes` };
    parsed.push({ version, createdAt: Date.parse(createdAt), key: createSecretKey(bytes) });
    bytes.fill(0);
  }
  parsed.sort((a, b) => a.version - b.version);
  const versions = parsed.map(({ version }) => version);
  if (new Set(versions).size !== versions.length) return { problem: 'it holds a version twice' };
  if (!versions.includes(current))
    return { problem: `its current version ${current} is not in it` };
  return { id, current, keys: parsed };
}
