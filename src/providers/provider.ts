/**
 * The one seam between the keyring and whatever holds the key encryption key. A provider knows
 * nothing of Kubernetes; the keyring knows no provider by name.
 */
import type { Result } from './errors.ts';

/** One version of the key encryption key. */
export type KeyVersion = {
  readonly version: number;
  /** When the provider says that it was made, in milliseconds since the epoch. */
  readonly createdAt: number;
  /**
   * A public value that two keys do not share, where the provider can compute one from the key
   * itself. It tells two keys apart that have the same version and creation time.
   */
  readonly checkValue?: string;
};

/** The key as the provider describes it now. */
export type KeyDescription = {
  /**
   * What names the key on every node alike, most general part first, e.g.
   * `['vault', 'admin/transit', 'kubernetes']`: the provider's kind, where the key is kept, its
   * name. Never an address or anything else that differs between nodes.
   */
  readonly path: readonly string[];
  /** Ascending by version; never empty. */
  readonly versions: readonly KeyVersion[];
  /** The version to encrypt with: the newest that policy allows. Always one of `versions`. */
  readonly current: KeyVersion;
  /** The oldest version that policy still lets decrypt. */
  readonly minDecryptionVersion: number;
  /**
   * Why nothing may be encrypted with it, and what to do; not there where it may. What it has encrypted
   * is decrypted all the same.
   */
  readonly unfit?: string;
  readonly facts: KeyFacts;
};

/** What a security officer asks about a key. */
export type KeyFacts = {
  /** The provider's own name of the algorithm, e.g. `aes256-gcm96`. */
  readonly type: string;
  readonly deletable: boolean;
  readonly exportable: boolean;
};

/**
 * Encrypts, decrypts and describes with a key that stays with the provider.
 *
 * Batches first: results come in the order of what was asked, one for each item, an item's failure
 * being its own. Where the whole request failed every item carries the same error. No method
 * rejects: a failure is a {@link Result}. The signal carries the caller's deadline and cancellation.
 */
export type Provider = {
  /** The name given to it in the configuration. */
  readonly name: string;
  /**
   * Calls back, from the start on, when something shows that the key may not be as it was described:
   * for a provider that can tell without being asked.
   */
  onChange?(listener: () => void): void;
  /** Makes the first contact, without waiting for it to succeed; idempotent. */
  start(): void;
  /** Ends sessions and connections; resolves when nothing is left open. */
  stop(): Promise<void>;
  /** Reads the key's versions and policy. */
  describe(signal: AbortSignal): Promise<Result<KeyDescription>>;
  /** Encrypts under exactly this version of the key; a reply made with another is an error. */
  encrypt(
    plaintexts: readonly Uint8Array[],
    version: number,
    signal: AbortSignal,
  ): Promise<readonly Result<Uint8Array>[]>;
  /** Decrypts what any readable version of the key has encrypted. */
  decrypt(
    ciphertexts: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<readonly Result<Uint8Array>[]>;
  /**
   * Whether it lets this process decrypt now, asked without anything that its key has encrypted: a
   * provider may describe its key and refuse to decrypt with it. Fails as `decrypt` would.
   */
  mayDecrypt(signal: AbortSignal): Promise<Result<void>>;
  /**
   * The key version that a ciphertext names, or undefined where it is not of this provider's
   * form: it looks at the form only and asks nobody.
   */
  versionOf(ciphertext: Uint8Array): number | undefined;
  /**
   * The key as this process has it in memory, for a provider whose key material is: a restart has to
   * load all of it again. Asks nobody, and changes nothing.
   */
  loaded?(): KeyDescription | undefined;
};
