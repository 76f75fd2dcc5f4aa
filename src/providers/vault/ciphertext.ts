/** Transit's ciphertexts, by their form alone: `vault:v<version>:<base64>`. */

export type TransitCiphertext = {
  readonly version: number;
  /** Nonce, sealed bytes and tag together. */
  readonly bytes: number;
};

const PREFIX = Buffer.from('vault:v');
const COLON = 0x3a;
const MAX_VERSION_DIGITS = 9;
const CANONICAL_BASE64 =
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/;

/** The version that a ciphertext names, without looking at the rest; undefined where it is not Transit's. */
export function versionOf(ciphertext: Uint8Array): number | undefined {
  return headOf(ciphertext)?.version;
}

/** A ciphertext that could be whole; undefined where it is not Transit's, or was cut or damaged. */
export function parseCiphertext(ciphertext: Uint8Array): TransitCiphertext | undefined {
  const head = headOf(ciphertext);
  if (head === undefined) return undefined;
  const text = Buffer.from(ciphertext.buffer, ciphertext.byteOffset, ciphertext.length).toString('latin1', 
    head.end,
  );
  if (text === '' || !CANONICAL_BASE64.test(text)) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return { version: head.version, bytes: (text.length / 4) * 3 - padding };
}

function headOf(ciphertext: Uint8Array): { version: number; end: number } | undefined {
  if (ciphertext.length < PREFIX.length + 2) return undefined;
  for (let i = 0; i < PREFIX.length; i += 1) {
    if (ciphertext[i] !== PREFIX[i]) return undefined;
  }
  let version = 0;
  for (let i = PREFIX.length; i <= PREFIX.length + MAX_VERSION_DIGITS; i += 1) {
    const byte = ciphertext[i];
    if (byte === COLON) return version > 0 ? { version, end: i + 1 } : undefined;
    if (byte === undefined || byte < 0x30 || byte > 0x39) return undefined;
    version = version * 10 + (byte - 0x30);
    if (version === 0) return undefined; // no leading zero: Vault writes none
  }
  return undefined;
}
