/** The embedded provider: a keyring in a file. What it does not protect against: docs/local-keyring.md */
import type { LocalConfig } from '../../config/schema.ts';
import type { Log } from '../../observe/log.ts';
import type { Clock } from '../../system/clock.ts';
import { reasonOf } from '../../system/files.ts';
import { type FileWatch, watchFile } from '../../system/watch-file.ts';
import { unlessAborted } from '../../system/within.ts';
import { fail, type Result, succeed } from '../errors.ts';
import type { KeyDescription, KeyVersion, Provider } from '../provider.ts';
import { decrypt, encrypt, parse, versionOf } from './cipher.ts';
import type { Keyring } from './keyring-file.ts';
import { checkValueOf, keyOf, replacedBy } from './replaced.ts';
import { type LoadedKeyring, loadKeyring, stampOf } from './store.ts';

export type LocalDependencies = {
  readonly log: Log;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
};

/** A file counts as written when it has not changed for so long. */
const SETTLE_MS = 100;

/** A provider that reads its file when it is first asked, and again when the file has changed. */
export function createLocalProvider(
  name: string,
  place: LocalConfig,
  { log, clock, env }: LocalDependencies,
): Provider {
  let loaded: LoadedKeyring | undefined;
  /** What is in the file now, where it would lose a key that is in memory. */
  let refused: (LoadedKeyring & { readonly problem: string }) | undefined;
  let watch: FileWatch | undefined;
  /** Who only decrypts is not looked at, so that the log alone can say it. */
  let changed = (): void => void notice();
  let loading: Promise<Result<LoadedKeyring>> | undefined;

  const load = async (): Promise<Result<LoadedKeyring>> => {
    try {
      const stamp = await stampOf(place);
      if (loaded !== undefined && stamp === loaded.stamp) return succeed(loaded);
      if (refused !== undefined && stamp === refused.stamp) return denied(refused.problem);
      const read = await loadKeyring(place, env, process.getuid?.());
      if ('problem' in read) return denied(read.problem);
      const replaced = loaded && replacedBy(loaded.keyring, read.keyring);
      if (replaced !== undefined) {
        const problem = `keyring ${place.keyringFile}: ${replaced}`;
        refused = { ...read, problem };
        log.error('keyring file not taken', { why: problem });
        return denied(problem);
      }
      log.debug?.('keyring read', {
        keys: read.keyring.keys.length,
        current: read.keyring.current,
      });
      loaded = read;
      refused = undefined;
      return succeed(loaded);
    } catch (error) {
      return fail('unavailable', `keyring ${place.keyringFile}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
  };
  const denied = (problem: string): Result<never> =>
    fail('denied', loaded === undefined ? problem : `${problem}; the keys in memory still decrypt`);
  const fresh = (): Promise<Result<LoadedKeyring>> => {
    loading ??= load().finally(() => {
      loading = undefined;
    });
    return loading;
  };
  const notice = async (): Promise<void> => {
    const read = await fresh();
    // One that was refused has been named already.
    if (!read.ok && loaded !== undefined && refused === undefined)
      log.error('keyring file not taken', { why: read.error.message });
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
    start() {
      watch ??= watchFile(place.keyringFile, {
        clock,
        settleMs: SETTLE_MS,
        changed: () => changed(),
        lost: (why) => log.warn?.('changes of the keyring file are noticed later', { why }),
      });
    },
    async stop() {
      watch?.stop();
    },
    onChange(listener) {
      changed = listener;
    },
    async describe(signal) {
      const read = await freshWithin(signal);
      return read.ok ? succeed(describeKeyring(read.value)) : read;
    },
    async encrypt(plaintexts, version, signal) {
      const read = await inMemory(signal);
      return plaintexts.map((plaintext): Result<Uint8Array> => {
        if (!read.ok) return read;
        // What only memory holds would be lost with this process.
        if (refused !== undefined) return denied(refused.problem);
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
        const plaintext = decryptOne(ciphertext, read.value.keyring);
        // Another node may have begun with the file that is not taken here.
        return plaintext.ok || refused === undefined
          ? plaintext
          : firstGood(decryptOne(ciphertext, refused.keyring), plaintext);
      });
    },
    async mayDecrypt(signal) {
      const read = await inMemory(signal);
      return read.ok ? succeed(undefined) : read;
    },
    versionOf,
    loaded: () => loaded && describeKeyring(loaded),
  };
}

function firstGood<T>(one: Result<T>, other: Result<T>): Result<T> {
  return one.ok ? one : other;
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
    ({ version, createdAt, key }): KeyVersion => ({
      version,
      createdAt,
      checkValue: checkValueOf(key),
    }),
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
