/**
 * A provider in memory, for what the keyring decides: it keeps the promises of provider.ts and can
 * be told to fail. Its ciphertexts look like Vault's, `fake:vN:<base64>`.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { fail, type ProviderErrorKind, type Result, succeed } from '../../src/providers/errors.ts';
import type { KeyVersion, Provider } from '../../src/providers/provider.ts';

export type FakeProvider = Provider & {
  /** What each method is to answer instead of its work; absent means it works. */
  readonly failing: {
    all?: ProviderErrorKind;
    describe?: ProviderErrorKind;
    encrypt?: ProviderErrorKind;
    decrypt?: ProviderErrorKind;
    mayDecrypt?: ProviderErrorKind;
  };
  /** Stands at the end of each failure's message. */
  says: string;
  readonly calls: { describe: number; encrypt: number; decrypt: number; mayDecrypt: number };
  /** Makes a new version; `at` is its creation time in milliseconds. */
  rotate(at: number): void;
  /** Deletes the key and makes it again under the same name. */
  recreate(at: number): void;
  /** Deletes the key and imports its versions again, with what they were made of: only the times are others. */
  reimport(at: number): void;
  /** Restores a backup of the time when there were so many versions. */
  restore(versions: number): void;
  /** Takes a backup; what it returns restores it. */
  backup(): () => void;
  /** What policy lets decrypt; only described, not enforced. */
  minDecryptionVersion: number;
  /** How long it asks to be left alone with each failure, in milliseconds. */
  retryAfterMs: number | undefined;
  /** What describe answers as the newest version, for a standby that lags behind. */
  pretendLatest: number | undefined;
  /** What encrypt writes into its ciphertexts instead of the truth. */
  tamper: ((ciphertext: Uint8Array) => Uint8Array) | undefined;
};

export function createFakeProvider(name = 'fake', createdAt = 1_000): FakeProvider {
  let keys = new Map<number, { secret: Buffer; createdAt: number }>();
  const add = (at: number): void => {
    keys.set(keys.size + 1, { secret: randomBytes(32), createdAt: at });
  };
  add(createdAt);
  const problem = (of: keyof FakeProvider['calls']): ReturnType<typeof fail> | undefined => {
    provider.calls[of] += 1;
    const kind = provider.failing[of] ?? provider.failing.all;
    return kind === undefined
      ? undefined
      : fail(
          kind,
          `${name} was told to fail: ${kind}${provider.says}`,
          provider.retryAfterMs === undefined ? {} : { retryAfterMs: provider.retryAfterMs },
        );
  };
  const provider: FakeProvider = {
    name,
    failing: {},
    says: '',
    calls: { describe: 0, encrypt: 0, decrypt: 0, mayDecrypt: 0 },
    minDecryptionVersion: 1,
    retryAfterMs: undefined,
    pretendLatest: undefined,
    tamper: undefined,
    start: () => undefined,
    stop: async () => undefined,
    rotate: add,
    recreate(at) {
      keys = new Map();
      add(at);
    },
    reimport(at) {
      keys = new Map(
        [...keys].map(([version, { secret }]) => [version, { secret, createdAt: at }]),
      );
    },
    restore(versions) {
      keys = new Map([...keys].slice(0, versions));
    },
    backup() {
      const copy = new Map(keys);
      return () => {
        keys = new Map(copy);
      };
    },
    async describe() {
      const failed = problem('describe');
      if (failed !== undefined) return failed;
      const latest = provider.pretendLatest ?? keys.size;
      const versions = [...keys]
        .slice(0, latest)
        .map(([version, key]): KeyVersion => ({ version, createdAt: key.createdAt }));
      const current = versions.at(-1);
      if (current === undefined) return fail('denied', 'the key has no version');
      return succeed({
        path: ['fake', name],
        versions,
        current,
        minDecryptionVersion: provider.minDecryptionVersion,
        facts: { type: 'aes256-gcm', deletable: false, exportable: false },
      });
    },
    async encrypt(plaintexts, version) {
      const failed = problem('encrypt');
      const key = keys.get(version);
      return plaintexts.map((plaintext): Result<Uint8Array> => {
        if (failed !== undefined) return failed;
        // A Vault that lags behind says the same of a version that it does not know yet.
        if (key === undefined) return fail('behind', `there is no version ${version}`);
        const iv = randomBytes(12);
        const cipher = createCipheriv('aes-256-gcm', key.secret, iv);
        const sealed = Buffer.concat([
          iv,
          cipher.update(plaintext),
          cipher.final(),
          cipher.getAuthTag(),
        ]);
        const ciphertext = Buffer.from(`fake:v${version}:${sealed.toString('base64')}`);
        return succeed(provider.tamper?.(ciphertext) ?? ciphertext);
      });
    },
    async decrypt(ciphertexts) {
      const failed = problem('decrypt');
      return ciphertexts.map((ciphertext): Result<Uint8Array> => {
        if (failed !== undefined) return failed;
        const key = keys.get(provider.versionOf(ciphertext) ?? 0);
        if (key === undefined) return fail('behind', 'the ciphertext names no known version');
        const sealed = Buffer.from(
          Buffer.from(ciphertext).toString().split(':')[2] ?? '',
          'base64',
        );
        try {
          const decipher = createDecipheriv('aes-256-gcm', key.secret, sealed.subarray(0, 12));
          decipher.setAuthTag(sealed.subarray(-16));
          return succeed(
            Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]),
          );
        } catch {
          return fail('invalid', 'the ciphertext does not authenticate');
        }
      });
    },
    async mayDecrypt() {
      return problem('mayDecrypt') ?? succeed(undefined);
    },
    versionOf(ciphertext) {
      const match = /^fake:v(\d+):/.exec(Buffer.from(ciphertext).toString('latin1'));
      return match === null ? undefined : Number(match[1]);
    },
  };
  return provider;
}
