/** Keyring files on disk: who may read them, what seals them, and how they are replaced. */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import {
  ifMissing,
  makingReasonOf,
  readSecretBytes,
  writeFileAtomically,
} from '../../system/files.ts';
import { withLockFile } from '../../system/lock-file.ts';
import { shareRead } from '../../system/read-file.ts';
import {
  formOf,
  type Keyring,
  type KeyringProblem,
  keyringIn,
  newKeyring,
  rotated,
  serialise,
} from './keyring-file.ts';
import { type SealSecret, sealKey } from './seal.ts';

/** Where a keyring is, and where the secret that opens it is. */
export type KeyringPlace = {
  readonly keyringFile: string;
  readonly passphraseFile?: string | undefined;
  readonly sealKeyFile?: string | undefined;
};

type Environment = Readonly<Record<string, string | undefined>>;

const MODE = 0o600;
const OTHERS = 0o077;
const MAX_BYTES = 4 << 20;

/** A keyring and the state of its file, by which a change is noticed. */
export type LoadedKeyring = { readonly keyring: Keyring; readonly stamp: string };

/**
 * Whether the file is another one than it was; undefined where there is none. It comes before every
 * load, so that a file system that does not answer has one read of each keyring at most.
 */
export async function stampOf({ keyringFile }: KeyringPlace): Promise<string | undefined> {
  const stats = await shareRead('lstat', keyringFile, () => lstat(keyringFile).catch(ifMissing));
  return stats === undefined ? undefined : stampOfStats(stats);
}

function stampOfStats({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return `${dev}:${ino}:${size}:${mtimeMs}:${ctimeMs}`;
}

/**
 * Reads and opens the keyring, or says in a sentence what is wrong and what to do.
 *
 * @param user who must own the file, or root; whoever it is where it is not given, as for a command
 */
export async function loadKeyring(
  place: KeyringPlace,
  env: Environment,
  user?: number,
): Promise<LoadedKeyring | KeyringProblem> {
  const { keyringFile } = place;
  const about = (problem: string): KeyringProblem => ({
    problem: `keyring ${keyringFile}: ${problem}`,
  });
  let file: FileHandle;
  try {
    // Not through a link: whoever may change the link would choose the key.
    // Not waiting either: a pipe without a writer would hold the call for ever.
    file = await open(
      keyringFile,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      return about(
        `it does not exist: restore it from its copy. Never make a new one where a cluster has Secrets under it: they would be lost. Only where there are none yet: trousseau keyring init ${keyringFile}`,
      );
    if (code === 'ELOOP') return about('it is a symbolic link: name the file itself');
    if (code === 'EACCES')
      return about(
        user === undefined
          ? 'permission denied: the user that runs this must own it and pass every directory above it'
          : `permission denied: the user that runs this (id ${user}) must own it and pass every directory above it: chown -h ${user} ${keyringFile}`,
      );
    return about(`it cannot be read: ${code}`);
  }
  try {
    // Of what is read, not of what may have taken its place meanwhile.
    const stats = await file.stat();
    if (!stats.isFile()) return about('it is not a regular file');
    if (stats.size > MAX_BYTES) return about('it is far too large for a keyring');
    const form = formOf(await file.readFile('utf8'));
    // Before its rights: of a file that is none, nobody is to change them.
    if ('problem' in form) return about(form.problem);
    if ((stats.mode & OTHERS) !== 0)
      return about(`others may read or change it: chmod 0600 ${keyringFile}`);
    if (user !== undefined && stats.uid !== user && stats.uid !== 0)
      return about(
        `it belongs to the user with id ${stats.uid}, who may change it: chown -h ${user} ${keyringFile}`,
      );
    const secret = await sealSecret(place, env);
    if (secret !== undefined && 'problem' in secret) return about(secret.problem);
    const parsed = await keyringIn(form, secret);
    return 'problem' in parsed
      ? about(parsed.problem)
      : { keyring: parsed, stamp: stampOfStats(stats) };
  } catch (error) {
    return about(error instanceof Error ? error.message : 'it cannot be read');
  } finally {
    await file.close();
  }
}

/** Makes a keyring with one key. Never replaces a file that is there. */
export async function initKeyring(
  place: KeyringPlace,
  env: Environment,
  now: number,
): Promise<Keyring | KeyringProblem> {
  return await exclusively(place, async () => {
    if ((await stampOf(place)) !== undefined) {
      return {
        problem: `${place.keyringFile} exists already: a keyring is never overwritten; rotate it, or name another file`,
      };
    }
    return await write(place, env, newKeyring(now));
  });
}

/** Adds a version, which encrypts from now on. */
export async function rotateKeyring(
  place: KeyringPlace,
  env: Environment,
  now: number,
): Promise<Keyring | KeyringProblem> {
  return await exclusively(place, async () => {
    const loaded = await loadKeyring(place, env);
    if ('problem' in loaded) return loaded;
    return await write(place, env, rotated(loaded.keyring, now));
  });
}

async function write(
  place: KeyringPlace,
  env: Environment,
  keyring: Keyring,
): Promise<Keyring | KeyringProblem> {
  const secret = await sealSecret(place, env);
  if (secret !== undefined && 'problem' in secret) return secret;
  await writeFileAtomically(place.keyringFile, await serialise(keyring, secret), MODE);
  return keyring;
}

async function exclusively(
  { keyringFile }: KeyringPlace,
  work: () => Promise<Keyring | KeyringProblem>,
): Promise<Keyring | KeyringProblem> {
  try {
    const done = await withLockFile(`${keyringFile}.lock`, work);
    return 'locked' in done ? { problem: `${keyringFile}: ${done.locked}` } : done;
  } catch (error) {
    return { problem: `cannot write ${keyringFile}: ${makingReasonOf(error)}` };
  }
}

/** What seals it, undefined where nothing does. */
async function sealSecret(
  { passphraseFile, sealKeyFile }: KeyringPlace,
  env: Environment,
): Promise<SealSecret | KeyringProblem | undefined> {
  const file = sealKeyFile ?? passphraseFile;
  if (file === undefined) return undefined;
  let bytes: Buffer;
  try {
    bytes = await readSecretBytes(file, env);
  } catch (error) {
    return { problem: error instanceof Error ? error.message : `cannot read ${file}` };
  }
  if (file === sealKeyFile) {
    const key = sealKey(bytes);
    return key === undefined
      ? { problem: `the sealing key in ${file} ${NO_KEY}` }
      : { kind: 'key', bytes: key };
  }
  const passphrase = bytes.toString('utf8').replace(/\r?\n$/, '');
  return passphrase === ''
    ? { problem: `the passphrase in ${file} is empty` }
    : { kind: 'passphrase', bytes: Buffer.from(passphrase) };
}

const NO_KEY =
  'must have 32 bytes, raw, in hexadecimal or in base64: head -c 32 /dev/urandom | base64';
