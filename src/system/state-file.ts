/** A small file in a directory of the process's own, which what comes after a restart reads. */
import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from './clock.ts';
import { ifMissing, writeFileAtomically } from './files.ts';
import { within } from './within.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const MODE = 0o600;
const OTHERS = 0o077;
const LIMIT_MS = 1_000;

/**
 * Where a file that outlives the process can be, in the order in which the places are tried: in the
 * unit's StateDirectory=, which a reboot leaves, and in its RuntimeDirectory= (systemd.exec(5)); none
 * where the process was given neither.
 */
export function stateFiles(name: string, env: Environment): readonly string[] {
  const directories = ['STATE_DIRECTORY', 'RUNTIME_DIRECTORY'].flatMap((variable) => {
    const [directory] = env[variable]?.split(':') ?? [];
    return directory?.startsWith('/') ? [directory] : [];
  });
  return [...new Set(directories)].map((directory) => join(directory, name));
}

/**
 * The text of a file that only this user, or root, can have written; undefined where there is none. root, as
 * for a start by hand, takes the file of the directory's owner too, who is the user of the service.
 *
 * @throws a sentence where it is not to be trusted, too large, or not read in time
 */
export async function readStateFile(
  path: string,
  mostBytes: number,
  clock: Clock,
): Promise<string | undefined> {
  return await within(clock, LIMIT_MS, readOwn(path, mostBytes), () => {
    throw new Error('reading it takes too long');
  });
}

async function readOwn(path: string, mostBytes: number): Promise<string | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch(ifMissing);
  if (file === undefined) return undefined;
  try {
    const { mode, uid, size } = await file.stat().then((stats) => {
      if (!stats.isFile()) throw new Error('it is not a regular file');
      return stats;
    });
    const user = process.getuid?.() ?? uid;
    const isTrusted =
      uid === user || uid === 0 || (user === 0 && uid === (await ownerOf(path)).uid);
    if (!isTrusted) throw new Error(`it belongs to the user with id ${uid}`);
    if ((mode & OTHERS) !== 0) throw new Error('others may read or change it');
    if (size > mostBytes) throw new Error(`it is larger than ${mostBytes} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/**
 * Replaces the file. What root writes belongs to the owner of the directory: the service, which runs as that
 * user, could not read a file of root's.
 */
async function replaceOwn(path: string, text: string, mode: number): Promise<void> {
  const owner = process.getuid?.() === 0 ? await ownerOf(path) : undefined;
  await writeFileAtomically(path, text, mode, owner);
}

/** The owner of the directory of a file. */
function ownerOf(path: string): Promise<{ readonly uid: number; readonly gid: number }> {
  return stat(dirname(path));
}

/** Writes one file again and again; the content that was given last is the one that stays. */
export type StateWriter = {
  /**
   * Replaces the file as a whole, for its owner alone. Resolves when this content or a later one is
   * there.
   *
   * @throws a sentence after the limit, and at once while an earlier write is beyond it; that write goes
   * on, and the last content that was given comes after it
   */
  write(text: string): Promise<void>;
};

/** What replaces a file as a whole. A test gives another one to stand for a disk. */
export type ReplaceFile = (path: string, text: string, mode: number) => Promise<void>;

/**
 * A writer whose writes follow each other: one that is late never replaces what came after it.
 *
 * @param limitMs how long one write is waited for
 */
export function createStateWriter(
  path: string,
  clock: Clock,
  limitMs: number = LIMIT_MS,
  replace: ReplaceFile = replaceOwn,
): StateWriter {
  let next: string | undefined;
  let work: Promise<void> | undefined;
  /** Work that is beyond its limit: whatever waited for it would stay in memory until it ends. */
  let late: Promise<void> | undefined;

  const writeAll = async (): Promise<void> => {
    try {
      while (next !== undefined) {
        const text = next;
        next = undefined;
        try {
          await replace(path, text, MODE);
        } catch (error) {
          // A later content has its own attempt, whose outcome counts.
          if (next === undefined) throw error;
        }
      }
    } finally {
      work = undefined;
    }
  };

  return {
    async write(text) {
      next = text;
      work ??= writeAll();
      const current = work;
      if (current === late) throw new Error(TOO_LONG);
      await within(clock, limitMs, current, () => {
        late = current;
        throw new Error(TOO_LONG);
      });
    },
  };
}

const TOO_LONG = 'writing it takes too long';
