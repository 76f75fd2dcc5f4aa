/**
 * The file that a process hands over, in the first of its places that can be written to. A disk that is
 * full or read-only for a time leaves an older file in one place and a newer one in the other: both
 * are read, and a number tells which is the newer one. It is the time of the write, and more than every
 * number that was read: a clock that was set back does not lower it, nor does a file that was not read.
 */
import { readdir, realpath, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Log } from '../observe/log.ts';
import type { Clock } from '../system/clock.ts';
import { makingReasonOf } from '../system/files.ts';
import {
  createStateWriter,
  type ReplaceFile,
  readStateFile,
  type StateWriter,
} from '../system/state-file.ts';
import { within } from '../system/within.ts';
import { type Content, formatHandover, parseHandover, type Written } from './handover-content.ts';

export type HandoverFile = {
  /** What the process before this one has written last; undefined where nothing of it can be taken. */
  readonly content: Content | undefined;
  /** Replaces it; resolves after a second at the latest. False where it could be written to no place. */
  write(content: Content): Promise<boolean>;
};

const MOST_BYTES = 1 << 20;
const LIMIT_MS = 1_000;
/** More than a path of a unix socket has, unix(7). */
const MOST_SHOWN = 128;
/** What a process that was killed while it wrote has left; one that writes now is younger. */
const LEFT_BEHIND_MS = 60_000;

export type HandoverFileOptions = {
  /** In the order in which they are written to. */
  readonly files: readonly string[];
  /** The path of the socket that this process serves. What a process on another socket has left is not taken. */
  readonly socket: string;
  readonly clock: Clock;
  readonly log: Log;
  /** How a file is replaced; on the disk unless given. */
  readonly replace?: ReplaceFile | undefined;
};

type Place = {
  readonly file: string;
  readonly writer: StateWriter;
  /** Of which key the file there is, as far as this process knows. */
  keyId: string | undefined;
};

/** What came of a write: the place that took it, and those before it that did not. */
type Outcome = {
  readonly place: Place | undefined;
  readonly failures: readonly { readonly file: string; readonly why: string }[];
};

/**
 * Reads all places, and removes what was left half written there. A file that is missing, damaged or
 * not to be trusted is none.
 */
export async function openHandoverFile(options: HandoverFileOptions): Promise<HandoverFile> {
  const { files, socket, clock, log, replace } = options;
  const read = await Promise.all(files.map((file) => readHandover(file, options)));
  const newest = read.reduce(
    (best, one) => ((one?.sequence ?? -1) > (best?.sequence ?? -1) ? one : best),
    undefined,
  );
  let sequence = newest?.sequence ?? 0;
  const limitMs = LIMIT_MS / Math.max(1, files.length);
  const places = files.map(
    (file, i): Place => ({
      file,
      writer: createStateWriter(file, clock, limitMs, replace),
      keyId: read[i]?.content.keyId,
    }),
  );
  const report = createReport(log);

  const writeToFirst = async (text: string): Promise<Outcome> => {
    const failures: Outcome['failures'][number][] = [];
    for (const place of places) {
      try {
        await place.writer.write(text);
        return { place, failures };
      } catch (error) {
        failures.push({ file: place.file, why: makingReasonOf(error) });
      }
    }
    return { place: undefined, failures };
  };

  /** Where a file of this key is lost, as with a reboot, an earlier key_id must not come back. */
  const removeEarlier = async (keyId: string): Promise<boolean> => {
    let hasRemoved = false;
    for (const place of places) {
      if (place.keyId === undefined || place.keyId === keyId) continue;
      const removed = await within(clock, limitMs, remove(place.file), () => false);
      if (removed) place.keyId = undefined;
      hasRemoved ||= removed;
    }
    return hasRemoved;
  };

  const put = async (text: string, keyId: string): Promise<boolean> => {
    let outcome = await writeToFirst(text);
    // On a full disk this makes room, too.
    if (outcome.place === undefined && (await removeEarlier(keyId)))
      outcome = await writeToFirst(text);
    if (outcome.place !== undefined) {
      outcome.place.keyId = keyId;
      await removeEarlier(keyId);
    }
    report(outcome);
    return outcome.place !== undefined;
  };

  return {
    content: newest?.content,
    async write(content) {
      sequence = Math.max(sequence + 1, Math.floor(clock.now()));
      const text = formatHandover({ sequence, socket, content });
      return await within(clock, LIMIT_MS, put(text, content.keyId), () => false);
    },
  };
}

/** Says what changes: the same failures again are no news. */
function createReport(log: Log): (outcome: Outcome) => void {
  let failing: ReadonlySet<string> = new Set();
  let isNowhere = false;
  return ({ place, failures }) => {
    if (place === undefined) {
      const why = failures.map(({ file, why }) => `${file}: ${why}`).join('; ');
      if (!isNowhere)
        log.warn?.('announced key not handed over', {
          why,
          effect:
            'after a restart in an outage of the provider, Status has no key_id until the provider is reached',
        });
    } else {
      if (isNowhere) log.info?.('announced key handed over again', { file: place.file });
      for (const { file, why } of failures) {
        if (!failing.has(file))
          log.warn?.('announced key not written here', { file, why, instead: place.file });
      }
    }
    isNowhere = place === undefined;
    failing = new Set(failures.map(({ file }) => file));
  };
}

async function readHandover(
  file: string,
  { socket: served, clock, log }: HandoverFileOptions,
): Promise<Written | undefined> {
  try {
    const [text] = await Promise.all([
      readStateFile(file, MOST_BYTES, clock),
      within(clock, LIMIT_MS, removeLeftBehind(file), () => undefined),
    ]);
    if (text === undefined) return undefined;
    const written = parseHandover(text);
    const { socket = served } = written;
    if (!(await within(clock, LIMIT_MS, isSamePlace(socket, served), () => false)))
      throw new Error(
        `it is of a plugin that served ${shown(socket)}, and this one serves ${shown(served)}: where both run on this node, give each a STATE_DIRECTORY and a RuntimeDirectory= of its own`,
      );
    return written;
  } catch (error) {
    log.warn?.('handed over key not taken', { file, why: reason(error) });
    return undefined;
  }
}

function shown(path: string): string {
  return JSON.stringify(path.slice(0, MOST_SHOWN));
}

/** Whether two paths lead to one socket: of many machines /var/run is a link to /run. */
async function isSamePlace(one: string, other: string): Promise<boolean> {
  if (one === other) return true;
  const folderOf = (path: string): Promise<string> =>
    realpath(dirname(path)).catch(() => dirname(path));
  return basename(one) === basename(other) && (await folderOf(one)) === (await folderOf(other));
}

function remove(file: string): Promise<boolean> {
  return rm(file, { force: true }).then(
    () => true,
    () => false,
  );
}

/** What cannot be removed harms nobody. */
async function removeLeftBehind(file: string): Promise<void> {
  const folder = dirname(file);
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const [whole, suffix] = /^\.(.*)\.[0-9a-f]{12}$/.exec(name) ?? [];
    if (whole === undefined || suffix !== basename(file)) continue;
    const path = join(folder, name);
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > LEFT_BEHIND_MS) await remove(path);
  }
}

function reason(error: unknown): string {
  if (error instanceof SyntaxError) return 'it is not JSON';
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
