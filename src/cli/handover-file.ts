/**
 * The file that a process hands over, in the first of its places that can be written to. A disk that is
 * full or read-only for a time leaves an older file in one place and a newer one in the other: both
 * are read, and a number tells which is the newer one. It is the time of the write, and more than every
 * number that was read: a clock that was set back does not lower it, nor does a file that was not read.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import * as v from 'valibot';
import { announce } from '../keyring/state.ts';
import type { Log } from '../observe/log.ts';
import type { KeyDescription } from '../providers/provider.ts';
import type { Clock } from '../system/clock.ts';
import { createStateWriter, readStateFile } from '../system/state-file.ts';
import { within } from '../system/within.ts';

/** What is handed over; base64 stands for bytes. */
export type Content = {
  readonly kind: typeof KIND;
  readonly version: 1;
  /** What the configuration named: another key under the same file is not taken for this one. */
  readonly provider: readonly string[];
  readonly keyId: string;
  readonly description: KeyDescription;
  /** What the announced key has made of random bytes: who decrypts it reads what that key has encrypted. */
  readonly sample?: string;
  /** Since when the provider has been away, in milliseconds since the epoch; absent while it is there. */
  readonly awaySince?: number;
  /** What the provider has made of the seeds that may become sources of local KEKs. */
  readonly sources: readonly string[];
  /** Of the last entries of the decrypt cache, which hold seeds of other nodes too. */
  readonly ciphertexts: readonly string[];
};

export type HandoverFile = {
  /** What the process before this one has written last; undefined where nothing of it can be taken. */
  readonly content: Content | undefined;
  /** Replaces it; resolves after a second at the latest. False where it could be written to no place. */
  write(content: Content): Promise<boolean>;
};

export const KIND = 'trousseau-announced-key';
const MOST_BYTES = 1 << 20;
const LIMIT_MS = 1_000;
/** What a process that was killed while it wrote has left; one that writes now is younger. */
const LEFT_BEHIND_MS = 60_000;

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const version = v.object({
  version: count,
  createdAt: v.number(),
  checkValue: v.optional(v.string()),
});
const base64 = v.pipe(v.string(), v.base64(), v.maxLength(4_096));
/** A later program may add fields: after a downgrade they are left out, and the key_id is known still. */
const schema = v.object({
  kind: v.literal(KIND),
  version: v.literal(1),
  sequence: v.optional(count, 0),
  provider: v.array(v.string()),
  keyId: v.string(),
  description: v.object({
    path: v.pipe(v.array(v.string()), v.minLength(1)),
    versions: v.pipe(v.array(version), v.minLength(1)),
    current: version,
    minDecryptionVersion: count,
    facts: v.object({ type: v.string(), deletable: v.boolean(), exportable: v.boolean() }),
  }),
  sample: v.optional(base64),
  awaySince: v.optional(v.number()),
  sources: v.pipe(v.array(base64), v.maxLength(16)),
  ciphertexts: v.optional(v.pipe(v.array(base64), v.maxLength(128)), []),
});

type Read = { readonly sequence: number; readonly content: Content };

/**
 * Reads all places, and removes what was left half written there. A file that is missing, damaged or
 * not to be trusted is none.
 *
 * @param files in the order in which they are written to
 */
export async function openHandoverFile(
  files: readonly string[],
  clock: Clock,
  log: Log,
): Promise<HandoverFile> {
  const read = await Promise.all(files.map((file) => readHandover(file, clock, log)));
  const newest = read.reduce(
    (best, one) => ((one?.sequence ?? -1) > (best?.sequence ?? -1) ? one : best),
    undefined,
  );
  let sequence = newest?.sequence ?? 0;
  const limitMs = LIMIT_MS / Math.max(1, files.length);
  const places = files.map((file, i) => ({
    file,
    writer: createStateWriter(file, clock, limitMs),
    /** Of which key the file there is, as far as this process knows. */
    keyId: read[i]?.content.keyId,
    hasFailed: false,
  }));

  return {
    content: newest?.content,
    async write(content) {
      sequence = Math.max(sequence + 1, Math.floor(clock.now()));
      const text = `${JSON.stringify({ ...content, sequence })}\n`;
      for (const place of places) {
        const { file } = place;
        try {
          await place.writer.write(text);
        } catch (error) {
          if (!place.hasFailed)
            log.warn?.('announced key not handed over', { file, why: reason(error) });
          place.hasFailed = true;
          continue;
        }
        place.hasFailed = false;
        place.keyId = content.keyId;
        // Where this file is lost, as with a reboot, an earlier key_id must not come back.
        for (const other of places) {
          if (other === place || other.keyId === undefined || other.keyId === content.keyId)
            continue;
          const removed = await within(clock, limitMs, remove(other.file), () => false);
          if (removed) other.keyId = undefined;
        }
        return true;
      }
      return false;
    },
  };
}

async function readHandover(file: string, clock: Clock, log: Log): Promise<Read | undefined> {
  try {
    const [text] = await Promise.all([
      readStateFile(file, MOST_BYTES, clock),
      within(clock, LIMIT_MS, removeLeftBehind(file), () => undefined),
    ]);
    if (text === undefined) return undefined;
    const parsed = v.safeParse(schema, JSON.parse(text));
    if (!parsed.success) throw new Error('it is not of this form');
    const { sequence, ...rest } = parsed.output;
    const content = withoutUndefined(rest);
    const { description, keyId } = content;
    const { versions, current } = description;
    const isWhole = versions.some((one) => isDeepStrictEqual(one, current));
    if (!isWhole || announce(description).keyId !== keyId)
      throw new Error('its key_id is not the one of its description');
    return { sequence, content };
  } catch (error) {
    log.warn?.('handed over key not taken', { file, why: reason(error) });
    return undefined;
  }
}

/** As JSON has it, so that it compares equal to what was written. */
function withoutUndefined(parsed: Omit<v.InferOutput<typeof schema>, 'sequence'>): Content {
  return JSON.parse(JSON.stringify(parsed)) as Content;
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
