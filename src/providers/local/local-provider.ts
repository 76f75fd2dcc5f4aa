/** The embedded provider: a keyring in a file. What it does not protect against: docs/local-keyring.md */
import type { LocalConfig } from '../../config/schema.ts';
import type { Log } from '../../observe/log.ts';
import { unlessAborted } from '../../system/within.ts';
import { fail, type Result, succeed } from '../errors.ts';
import type { KeyDescription, KeyVersion, Provider } from '../provider.ts';
import { decrypt, encrypt, parse, versionOf } from './cipher.ts';
import type { Keyring, KeyringKey } from './keyring-file.ts';
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
      loaded = { ...read, keyring: withoutLoss(loaded?.keyring, read.keyring) };
      return succeed(loaded);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return fail('unavailable', `keyring ${place.keyringFile}: ${code ?? message}`, {
        cause: error,
      });
    }
  };
  /** A file that lost versions, as an old copy has, takes nothing from what is in memory. */
  const withoutLoss = (before: Keyring | undefined, read: Keyring): Keyring => {
    if (before === undefined || before.id !== read.id) return read;
    const lost = before.keys.filter(({ version }) => keyOf(read, version) === undefined);
    if (lost.length === 0) return read;
    const versions = lost.map(({ version }) => version).join(', ');
    log.error('keyring file lost versions', {
      file: place.keyringFile,
      versions,
      why: 'was an old copy put in its place? what these versions encrypted is lost at the next start: put the newest copy back',
    });
    const keys = [...read.keys, ...lost].sort((a, b) => a.version - b.version);
    return { ...read, keys, current: Math.max(read.current, before.current) };
  };
  const fresh = (): Promise<Result<LoadedKeyring>> => {
    loading ??= load().finally(() => {
      loading = undefined;
    });
    return loading;
  };
  /** A read from a file system that does not answer never ends, and its callers have deadlines. */
  const freshWithin = (signal: AbortSignal): Promise<Result<LoadedKeyring>> =>
    unlessAborted(fresh(), signal, () =>
      fail('unavailable', `keyring ${place.keyringFile}: reading it takes too long`),
    );
  /** What is in memory serves on even where the file has become unreadable meanwhile. */
  const inMemory = async (signal: AbortSignal): Promise<Result<LoadedKeyring>> =>
    loaded === undefined ? await freshWithin(signal) : succeed(loaded);

  return {
    name,
    start: () => undefined,
    stop: async () => undefined,
    async describe(signal) {
      const read = await freshWithin(signal);
      return read.ok ? succeed(describeKeyring(read.value)) : read;
    },
    async encrypt(plaintexts, version, signal) {
      const read = await inMemory(signal);
      return plaintexts.map((plaintext): Result<Uint8Array> => {
        if (!read.ok) return read;
        const { keyring } = read.value;
        const key = keyOf(keyring, version);
        if (key === undefined) return fail('invalid', `the keyring has no version ${version}`);
        return succeed(encrypt(plaintext, key.key, { keyringId: keyring.id, version }));
      });
    },
    async decrypt(ciphertexts, signal) {
      let read = await inMemory(signal);
      // Another node may have rotated the file that this one has a copy of.
      if (read.ok && namesMissingVersion(ciphertexts, read.value.keyring)) {
        const again = await freshWithin(signal);
        if (again.ok) read = again;
      }
      return ciphertexts.map((ciphertext): Result<Uint8Array> => {
        if (!read.ok) return read;
        return decryptOne(ciphertext, read.value.keyring);
      });
    },
    versionOf,
    loaded: () => loaded && describeKeyring(loaded),
  };
}

function keyOf({ keys }: Keyring, version: number): KeyringKey | undefined {
  return keys.find((key) => key.version === version);
}

function namesMissingVersion(ciphertexts: readonly Uint8Array[], keyring: Keyring): boolean {
  return ciphertexts.some((ciphertext) => {
    const version = versionOf(ciphertext);
    return version !== undefined && keyOf(keyring, version) === undefined;
  });
}

function decryptOne(ciphertext: Uint8Array, keyring: Keyring): Result<Uint8Array> {
  const parsed = parse(ciphertext);
  if (parsed === undefined) {
    return fail(
      'invalid',
      'the ciphertext is not whole: it is not local:v<version>:<base64>, or too short for what it must hold',
    );
  }
  const { version, sealed } = parsed;
  const key = keyOf(keyring, version);
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
