/**
 * Reads whole files that may be on a file system which does not answer, as a dead NFS server or a
 * stopped FUSE daemon. Such a read cannot be cancelled, and it occupies one of the few threads that
 * libuv has for files and for name look-ups. So each read has a time limit for its callers, no file
 * is read twice at the same time, and two threads at most are used for reads: the others remain for
 * name look-ups. The state belongs to the process because the threads do.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { type Clock, systemClock } from './clock.ts';
import { within } from './within.ts';

/** What the kernel does for a read. A test gives another one to stand for a file that hangs. */
export type ReadOnce = (path: string, mostBytes: number) => Promise<Buffer>;

export type FileReader = {
  /**
   * The whole content, through symbolic links. Callers that ask for the same file at the same time
   * share one read.
   *
   * @param mostBytes a larger file is an error
   * @throws an error with the `code` of the system call, or a sentence where there is none
   */
  read(path: string, mostBytes: number): Promise<Buffer>;
  /** Another kind of read of a file, with the same limits: `what` and the path name it. */
  share<T>(what: string, path: string, work: () => Promise<T>): Promise<T>;
  /** The files whose read takes longer than the limit and has not ended yet. */
  hanging(): readonly string[];
};

/** How long a caller waits for a file, in milliseconds. */
export const READ_LIMIT_MS = 2_000;
/** Of the four threads of libuv (UV_THREADPOOL_SIZE in scripts/binary/bundle.ts). */
const MOST_AT_ONCE = 2;
/** Most files are smaller than the first chunk; a chunk that is too large is memory until its collection. */
const FIRST_CHUNK_BYTES = 4 * 1024;
const MOST_CHUNK_BYTES = 64 * 1024;

/** A reader with a bound of its own. The process has one, {@link readRegularFile}. */
export function createFileReader(clock: Clock, readOnce: ReadOnce): FileReader {
  const reads = new Map<string, Promise<unknown>>();
  const running = new Set<string>();
  const late = new Map<string, string>();
  const queue: (() => void)[] = [];

  const inTurn = async <T>(key: string, work: () => Promise<T>): Promise<T> => {
    if (running.size >= MOST_AT_ONCE) await new Promise<void>((resolve) => queue.push(resolve));
    running.add(key);
    try {
      return await work();
    } finally {
      running.delete(key);
      late.delete(key);
      reads.delete(key);
      queue.shift()?.();
    }
  };

  const share: FileReader['share'] = <T>(what: string, path: string, work: () => Promise<T>) => {
    const key = `${what} ${path}`;
    // One key always means one kind of work.
    const read = (reads.get(key) as Promise<T> | undefined) ?? inTurn(key, work);
    reads.set(key, read);
    return within(clock, READ_LIMIT_MS, read, () => {
      if (running.has(key)) late.set(key, path);
      const error = new Error(lateSentence(running.has(key), [...late.values()]));
      error.name = 'TimeoutError';
      throw error;
    });
  };

  return {
    share,
    read: (path, mostBytes) => share('read', path, () => readOnce(path, mostBytes)),
    hanging: () => [...late.values()],
  };
}

function lateSentence(isRunning: boolean, hanging: readonly string[]): string {
  const limit = `${READ_LIMIT_MS / 1000} s`;
  return isRunning
    ? `reading it takes longer than ${limit}: its file system does not answer, or this machine has no processor time to spare`
    : `it was not read within ${limit}, because reading ${hanging.join(' and ')} does not end: their file systems do not answer, or this machine has no processor time to spare`;
}

/**
 * Reads without the limits of a reader, for who has them around several reads. A pipe without a writer
 * would make its reader wait, and a device may have no end.
 */
export async function readRegular(path: string, mostBytes: number): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    if (!(await file.stat()).isFile()) throw new Error('it is not a regular file');
    const bytes = await readAtMost(file, mostBytes + 1);
    if (bytes.length > mostBytes) throw new Error(`it is larger than ${mostBytes} bytes`);
    return bytes;
  } finally {
    await file.close();
  }
}

/** Files of /proc do not tell their size, and any file may grow while it is read. */
async function readAtMost(file: FileHandle, most: number): Promise<Buffer> {
  const full: Buffer[] = [];
  let length = 0;
  let chunk = Buffer.alloc(Math.min(FIRST_CHUNK_BYTES, most));
  let filled = 0;
  while (length + filled < most) {
    if (filled === chunk.length) {
      full.push(chunk);
      length += filled;
      filled = 0;
      chunk = Buffer.alloc(Math.min(2 * chunk.length, MOST_CHUNK_BYTES, most - length));
    }
    const { bytesRead } = await file.read(chunk, filled, chunk.length - filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return Buffer.concat([...full, chunk.subarray(0, filled)]);
}

/** Reads a whole regular file within {@link READ_LIMIT_MS}; see {@link FileReader.read}. */
export const { read: readRegularFile, share: shareRead } = createFileReader(
  systemClock,
  readRegular,
);
