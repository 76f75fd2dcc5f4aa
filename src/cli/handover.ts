/**
 * What a process hands over to the one after it, so that a restart in an outage of the provider stops
 * no writes: the announced key, and which seeds this process has encrypted. None of it is secret; docs/decisions/0015-handover.md
 */
import { isDeepStrictEqual } from 'node:util';
import * as v from 'valibot';
import type { ResolvedConfig } from '../config/environment.ts';
import type { HandedOver, Keyring } from '../keyring/keyring.ts';
import { type AnnouncedKey, announce } from '../keyring/state.ts';
import type { Log } from '../observe/log.ts';
import type { KeyDescription } from '../providers/provider.ts';
import type { Clock, Timer } from '../system/clock.ts';
import { createStateWriter, readStateFile, type StateWriter } from '../system/state-file.ts';
import { keyOf } from './providers.ts';

export type Handover = {
  /** What was announced last for the key that the configuration names; undefined where it is not known. */
  announcedFor(config: ResolvedConfig): HandedOver | undefined;
  /**
   * Writes another key_id before it is announced, so that none comes back after a restart. Resolves
   * after a second at the latest, whatever the disk does.
   */
  announcing(key: AnnouncedKey, config: ResolvedConfig): Promise<void>;
  /** Keeps the file up to date with what is announced, until it is stopped. */
  follow(
    keyring: Pick<Keyring, 'state' | 'sources' | 'ciphertexts'>,
    config: () => ResolvedConfig,
  ): void;
  /** Writes what has been announced since the last look. */
  stop(): Promise<void>;
};

export type HandoverOptions = {
  /** Undefined where there is no directory for it: then nothing is handed over. */
  readonly file: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
};

/** The name of the file in the directory that the unit gives. */
export const HANDOVER_FILE = 'announced-key.json';

const KIND = 'trousseau-announced-key';
const MOST_BYTES = 1 << 20;
/** How often the state is compared with what was written. */
const FOLLOW_MS = 1_000;
/** How often the entries of the decrypt cache are: with KMS v1 each write of an object changes them. */
const CIPHERTEXTS_MS = 60_000;

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const version = v.strictObject({
  version: count,
  createdAt: v.number(),
  checkValue: v.optional(v.string()),
});
const base64 = v.pipe(v.string(), v.base64(), v.maxLength(4_096));
const schema = v.strictObject({
  kind: v.literal(KIND),
  version: v.literal(1),
  /** What the configuration named: another key under the same file is not taken for this one. */
  provider: v.array(v.string()),
  keyId: v.string(),
  description: v.strictObject({
    path: v.pipe(v.array(v.string()), v.minLength(1)),
    versions: v.pipe(v.array(version), v.minLength(1)),
    current: version,
    minDecryptionVersion: count,
    facts: v.strictObject({ type: v.string(), deletable: v.boolean(), exportable: v.boolean() }),
  }),
  /** What the provider has made of the seeds that may become sources of local KEKs. */
  sources: v.pipe(v.array(base64), v.maxLength(16)),
  /** Of the last entries of the decrypt cache, which hold seeds of other nodes too. */
  ciphertexts: v.optional(v.pipe(v.array(base64), v.maxLength(128)), []),
});

/** Reads what was handed over; a file that is missing, damaged or not to be trusted is none. */
export async function openHandover({ file, clock, log }: HandoverOptions): Promise<Handover> {
  const read = file === undefined ? undefined : await readHandover(file, clock, log);
  let timer: Timer | undefined;
  let written: Content | undefined = read;
  let writing: Promise<void> | undefined;
  let latest: (() => Content | undefined) | undefined;
  let hasFailed = false;
  let stopping = false;
  /** Keys that are written and not announced yet: what is announced still is older. */
  let announcing = 0;

  const writer = file === undefined ? undefined : createStateWriter(file, clock);
  const write = async ({ write }: StateWriter, content: Content): Promise<void> => {
    try {
      await write(`${JSON.stringify(content)}\n`);
      written = content;
      hasFailed = false;
    } catch (error) {
      if (!hasFailed) log.warn?.('announced key not handed over', { file, why: reason(error) });
      hasFailed = true;
    }
  };

  /** Writes what is new, unless a write is under way. */
  const look = (): void => {
    const content = latest?.();
    if (writer === undefined || content === undefined || writing !== undefined) return;
    if (announcing > 0 || isDeepStrictEqual(content, written)) return;
    writing = write(writer, content).finally(() => {
      writing = undefined;
    });
  };

  const again = (): void => {
    look();
    timer = clock.setTimer(FOLLOW_MS, again);
  };

  return {
    announcedFor(config) {
      if (read === undefined || !isDeepStrictEqual(read.provider, providerOf(config)))
        return undefined;
      return {
        key: announce(read.description),
        sources: read.sources.map((source) => Buffer.from(source, 'base64')),
        ciphertexts: read.ciphertexts.map((one) => Buffer.from(one, 'base64')),
      };
    },
    async announcing(key, config) {
      if (writer === undefined) return;
      announcing += 1;
      // Its sources are to come: nothing has been encrypted under it.
      await write(writer, contentOf(key, [], [], config));
      announcing -= 1;
    },
    follow(keyring, config) {
      if (file === undefined) return;
      let ciphertexts: readonly Uint8Array[] = [];
      let takenAt = Number.NEGATIVE_INFINITY;
      latest = () => {
        const now = keyring.state();
        // Where the provider went away at once: the key stays announced. Otherwise the last good one is better.
        const isNew = now.kind === 'outage' && now.key.keyId !== written?.keyId;
        if (now.kind !== 'ready' && !isNew) return undefined;
        if (stopping || clock.now() - takenAt >= CIPHERTEXTS_MS) {
          ciphertexts = keyring.ciphertexts();
          takenAt = clock.now();
        }
        return contentOf(now.key, keyring.sources(), ciphertexts, config());
      };
      again();
    },
    async stop() {
      timer?.cancel();
      stopping = true;
      await writing;
      look();
      await writing;
    },
  };
}

type Content = {
  readonly kind: typeof KIND;
  readonly version: 1;
  readonly provider: readonly string[];
  readonly keyId: string;
  readonly description: KeyDescription;
  readonly sources: readonly string[];
  readonly ciphertexts: readonly string[];
};

function contentOf(
  { keyId, description }: AnnouncedKey,
  sources: readonly Uint8Array[],
  ciphertexts: readonly Uint8Array[],
  config: ResolvedConfig,
): Content {
  return {
    ...{ kind: KIND, version: 1, provider: providerOf(config), keyId, description },
    // In one order: that they took their turns is no change.
    sources: sources.map(toBase64).sort(),
    ciphertexts: ciphertexts.map(toBase64).sort(),
  };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

async function readHandover(file: string, clock: Clock, log: Log): Promise<Content | undefined> {
  try {
    const text = await readStateFile(file, MOST_BYTES, clock);
    if (text === undefined) return undefined;
    const parsed = v.safeParse(schema, JSON.parse(text));
    if (!parsed.success) throw new Error('it is not of this form');
    const content = withoutUndefined(parsed.output);
    const { description, keyId } = content;
    const { versions, current } = description;
    const isWhole = versions.some((one) => isDeepStrictEqual(one, current));
    if (!isWhole || announce(description).keyId !== keyId)
      throw new Error('its key_id is not the one of its description');
    return content;
  } catch (error) {
    log.warn?.('handed over key not taken', { file, why: reason(error) });
    return undefined;
  }
}

/** As JSON has it, so that it compares equal to what was written. */
function withoutUndefined(parsed: v.InferOutput<typeof schema>): Content {
  return JSON.parse(JSON.stringify(parsed)) as Content;
}

/** What names the key that the configuration encrypts with. */
function providerOf({ providers, write }: ResolvedConfig): readonly string[] {
  const writer = providers.find(({ name }) => name === write[0]);
  return writer === undefined ? [] : keyOf(writer);
}

function reason(error: unknown): string {
  if (error instanceof SyntaxError) return 'it is not JSON';
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
