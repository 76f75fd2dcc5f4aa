/** The embedded provider: a keyring in a file. What it does not protect against: docs/local-keyring.md */
import type { LocalConfig } from '../../config/schema.ts';
import type { Log } from '../../observe/log.ts';
import { fail, type Result, succeed } from '../errors.ts';
import type { KeyDescription, KeyVersion, Provider } from '../provider.ts';
import { decrypt, encrypt, parse, versionOf } from './cipher.ts';
import type { KeyringKey } from './keyring-file.ts';
import { type LoadedKeyring, loadKeyring, stampOf } from './store.ts';

export type LocalDependencies = {
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
};

/** A provider that reads its file when it is first asked, and again when the file has changed. */
export function createLocalProvider(
  name: string,
  place: LocalConfig,
  { log, env }: LocalDependencies,
): Provider {
  let loaded: LoadedKeyring | undefined;
  let loading: Promise<Result<LoadedKeyring>> | undefined;

  const load = async (): Promise<Result<LoadedKeyring>> => {
    try {
      const stamp = await stampOf(place);
      if (loaded !== undefined && stamp === loaded.stamp) return succeed(loaded);
      const read = await loadKeyring(place, env);
      if ('problem' in read) return fail('denied', read.problem);
      log.debug?.('keyring read', {
        keys: read.keyring.keys.length,
        current: read.keyring.current,
      });
      loaded = read;
      return succeed(read);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return fail('unavailable', `keyring ${place.keyringFile}: ${code ?? message}`, {
        cause: error,
      });
    }
  };
  const fresh = (): Promise<Result<LoadedKeyring>> => {
    loading ??= load().finally(() => {
      loading = undefined;
    });
    return loading;
  };
  const keyOf = (version: number): KeyringKey | undefined =>
    loaded?.keyring.keys.find((key) => key.version === version);

  /** What is in memory serves on even where the file has become unreadable meanwhile. */
  const keyring = async (): Promise<Result<LoadedKeyring>> =>
    loaded === undefined ? await fresh() : succeed(loaded);

  return {
    name,
    start: () => undefined,
    stop: async () => undefined,
    async describe() {
      const read = await fresh();
      return read.ok ? succeed(describeKeyring(read.value)) : read;
    },
    async encrypt(plaintexts, version) {
      const read = await keyring();
      return plaintexts.map((plaintext): Result<Uint8Array> => {
        if (!read.ok) return read;
        const key = keyOf(version);
        if (key === undefined) return fail('invalid', `the keyring has no version ${version}`);
        return succeed(encrypt(plaintext, key.key, { keyringId: read.value.keyring.id, version }));
      });
    },
    async decrypt(ciphertexts) {
      let read = await keyring();
      const newer = ciphertexts.some((ciphertext) => {
        const version = versionOf(ciphertext);
        return version !== undefined && keyOf(version) === undefined;
      });
      // Another node may have rotated the file that this one has a copy of.
      if (read.ok && newer) {
        const again = await fresh();
        if (again.ok) read = again;
      }
      return ciphertexts.map((ciphertext): Result<Uint8Array> => {
        if (!read.ok) return read;
        return decryptOne(ciphertext, read.value, keyOf);
      });
    },
    versionOf,
  };
}

function decryptOne(
  ciphertext: Uint8Array,
  { keyring }: LoadedKeyring,
  keyOf: (version: number) => KeyringKey | undefined,
): Result<Uint8Array> {
  const parsed = parse(ciphertext);
  if (parsed === undefined) {
    return fail(
      'invalid',
      'the ciphertext is not whole: it is not local:v<version>:<base64>, or too short for what it must hold',
    );
  }
  const { version, sealed } = parsed;
  const key = keyOf(version);
  if (key === undefined)
    return fail(
      'invalid',
      `the keyring has no version ${version}: was it copied from the other nodes?`,
    );
  const plaintext = decrypt(sealed, key.key, { keyringId: keyring.id, version });
  return plaintext === undefined
    ? fail('invalid', 'the ciphertext was damaged, or made by another keyring')
    : succeed(plaintext);
}

function describeKeyring({ keyring }: LoadedKeyring): KeyDescription {
  const versions = keyring.keys.map(
    ({ version, createdAt }): KeyVersion => ({ version, createdAt }),
  );
  const current = versions.find(({ version }) => version === keyring.current);
  if (current === undefined) throw new Error('a keyring that was parsed has its current version');
  return {
    path: ['local', keyring.id],
    versions,
    current,
    minDecryptionVersion: 1,
    facts: { type: 'aes256-gcm', deletable: true, exportable: true },
  };
}
