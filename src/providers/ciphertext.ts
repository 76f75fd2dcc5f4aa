/** The one form of ciphertexts, Vault's own: `<kind>:v<version>:<base64>`, in ASCII. */

/** A ciphertext that could be whole. */
export type ParsedCiphertext = {
  readonly version: number;
  /** What stands behind the head, canonical. */
  readonly base64: string;
  /** How many bytes that is. */
  readonly bytes: number;
};

export type CiphertextForm = {
  /** The version that it names, by its head alone; undefined where it is of another kind. */
  versionOf(ciphertext: Uint8Array): number | undefined;
  /** Undefined for what is of another kind, was cut, or is damaged in a way that shows. */
  parse(ciphertext: Uint8Array): ParsedCiphertext | undefined;
};

/** RFC 4648, section 3.5: the bits behind the last byte are zero, so that each value has one form. */
export const CANONICAL_BASE64 =
  /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/;
const MAX_VERSION_DIGITS = 9;
const COLON = 0x3a;
const ZERO = 0x30;
const NINE = 0x39;

/** The kinds of providers that there are, by what their ciphertexts begin with. */
const PROVIDER_KINDS = ['vault', 'local'] as const;

/** What the head of a ciphertext says of who wrote it; undefined where no provider of any kind did. */
export function writtenBy(
  ciphertext: Uint8Array,
): { readonly kind: string; readonly version: number } | undefined {
  for (const kind of PROVIDER_KINDS) {
    const version = ciphertextForm(kind).versionOf(ciphertext);
    if (version !== undefined) return { kind, version };
  }
  return undefined;
}

/** The form of one kind, e.g. `vault`. */
export function ciphertextForm(kind: string): CiphertextForm {
  const prefix = Buffer.from(`${kind}:v`, 'latin1');

  /** 0 where the head is of another kind. Numbers alone: this is asked several times for each call. */
  const versionIn = (ciphertext: Uint8Array): number => {
    for (let i = 0; i < prefix.length; i += 1) {
      if (ciphertext[i] !== prefix[i]) return 0;
    }
    let version = 0;
    for (let i = prefix.length; i <= prefix.length + MAX_VERSION_DIGITS; i += 1) {
      const byte = ciphertext[i];
      if (byte === COLON) return version;
      if (byte === undefined || byte < ZERO || byte > NINE) return 0;
      version = version * 10 + (byte - ZERO);
      if (version === 0) return 0; // nobody writes a leading zero
    }
    return 0;
  };

  return {
    versionOf(ciphertext) {
      const version = versionIn(ciphertext);
      return version > 0 ? version : undefined;
    },
    parse(ciphertext) {
      const version = versionIn(ciphertext);
      if (version === 0) return undefined;
      const { buffer, byteOffset, length } = ciphertext;
      const base64 = Buffer.from(buffer, byteOffset, length).toString(
        'latin1',
        ciphertext.indexOf(COLON, prefix.length) + 1,
      );
      if (base64 === '' || !CANONICAL_BASE64.test(base64)) return undefined;
      const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
      return { version, base64, bytes: (base64.length / 4) * 3 - padding };
    },
  };
}
