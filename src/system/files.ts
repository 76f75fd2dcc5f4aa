/** Files that hold secrets: reading them, and replacing them without ever leaving half of one. */
import { randomBytes } from 'node:crypto';
import { open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { readRegularFile } from './read-file.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const CREDENTIAL_PREFIX = 'credential:';
const MAX_SECRET_BYTES = 64 * 1024;

/**
 * The path of a secret: an absolute path, or `credential:NAME` for a systemd credential of the
 * unit (systemd.exec(5), LoadCredential=).
 *
 * @throws a sentence where the process was started without credentials
 */
export function secretPath(place: string, env: Environment): string {
  if (!place.startsWith(CREDENTIAL_PREFIX)) return place;
  const directory = env['CREDENTIALS_DIRECTORY'];
  if (directory === undefined || directory === '') {
    throw new Error(
      `${place} needs a systemd credential: start it as a unit with LoadCredential=${place.slice(CREDENTIAL_PREFIX.length)}:...`,
    );
  }
  return join(directory, place.slice(CREDENTIAL_PREFIX.length));
}

/**
 * The bytes of a secret as they are now, through links too, as mounted Secrets are swapped by one.
 * A file that does not answer within two seconds is an error.
 *
 * @throws a sentence that names the file and never what is in it
 */
export async function readSecretBytes(place: string, env: Environment): Promise<Buffer> {
  const path = secretPath(place, env);
  try {
    return await readRegularFile(path, MAX_SECRET_BYTES);
  } catch (error) {
    throw new Error(`cannot read ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** A secret as text, without the line feed that editors and `echo` put at its end. */
export async function readSecretFile(place: string, env: Environment): Promise<string> {
  return (await readSecretBytes(place, env)).toString('utf8').replace(/\r?\n$/, '');
}

/** The ids of a user and a group. */
type Owner = { readonly uid: number; readonly gid: number };

/**
 * Replaces a file as a whole: whoever reads it sees all of the old one or all of the new one, also
 * after a power failure.
 *
 * @param owner who owns it afterwards, where root writes it; the owner of the file that is replaced unless given
 */
export async function writeFileAtomically(
  path: string,
  data: string,
  mode: number,
  owner?: Owner,
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  const previous = owner ?? (await stat(path).catch(ifMissing));
  const file = await open(temporary, 'wx', mode);
  try {
    await file.chmod(mode);
    if (previous !== undefined && process.getuid?.() === 0)
      await file.chown(previous.uid, previous.gid);
    await file.writeFile(data);
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => undefined); // it may be closed already; the first error counts
    await rm(temporary, { force: true });
    throw error;
  }
  const folder = await open(directory, 'r');
  await folder.sync().finally(() => folder.close());
}

/** Undefined for a file that is not there; rejects for every other reason. */
export function ifMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
  throw error;
}

/** Why a file cannot be read, in a few words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return 'it does not exist';
    case 'EACCES':
      return 'permission denied: the user that runs this must be able to read it and pass every directory above it';
    case 'ENOTDIR':
      return 'a part of its path is not a directory';
    case 'ELOOP':
      return 'its path has too many symbolic links, or a link that leads to itself';
    case undefined:
      return message;
    default:
      return code;
  }
}

/** Why a file, a directory or a socket cannot be made, in a few words. */
export function makingReasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const words = code === undefined ? undefined : WHY_NOT_MADE[code];
  return words === undefined ? (code ?? message) : `${code}: ${words}`;
}

/** What a person has to do about it; errno(3). */
const WHY_NOT_MADE: Readonly<Record<string, string>> = {
  ENOENT: 'the directory above it does not exist: make it first',
  ENOTDIR: 'a part of its path is not a directory',
  EACCES: 'the user that runs this must be able to write to the directory above it',
  EPERM: 'the user that runs this may not make it there',
  EROFS: 'its file system is read-only',
  ENOSPC: 'no space is left on its file system',
  EDQUOT: 'the quota of the user that runs this is used up',
};

/** Of the file system or of this process, which the next try may not meet any more; errno(3). */
const PASSING: readonly unknown[] = [
  ...['EIO', 'ESTALE', 'ETIMEDOUT', 'ENOTCONN', 'EINTR', 'EAGAIN', 'EBUSY'],
  ...['EMFILE', 'ENFILE', 'ENOMEM'],
];

/** Whether a failed read may pass by itself, while nothing is wrong with the file. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { name, code, cause } = error as NodeJS.ErrnoException;
  return name === 'TimeoutError' || PASSING.includes(code) || mayPass(cause);
}
