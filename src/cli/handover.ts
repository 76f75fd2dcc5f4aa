/**
 * What a process hands over to the one after it, so that a restart in an outage of the provider stops
 * no writes: the announced key, and which seeds this process has encrypted. None of it is secret; docs/decisions/0015-handover.md
 */
import { isDeepStrictEqual } from 'node:util';
import type { ResolvedConfig } from '../config/environment.ts';
import type { HandedOver } from '../keyring/handed-over.ts';
import type { Keyring } from '../keyring/keyring.ts';
import type { Sample } from '../keyring/self-test.ts';
import { type AnnouncedKey, announce } from '../keyring/state.ts';
import type { Timer } from '../system/clock.ts';
import { type Content, KIND } from './handover-content.ts';
import { type HandoverFileOptions, openHandoverFile } from './handover-file.ts';
import { keyOf } from './providers.ts';

export type Handover = {
  /** What was announced last; undefined where it is not known. */
  leftFor(config: ResolvedConfig): HandedOver | undefined;
  /**
   * Writes another key_id before it is announced, so that none comes back after a restart. Resolves
   * after a second at the latest, whatever the disk does.
   */
  announcing(key: AnnouncedKey, sample: Sample | undefined, config: ResolvedConfig): Promise<void>;
  /** Keeps the file up to date with what is announced, until it is stopped. */
  follow(
    keyring: Pick<Keyring, 'state' | 'sample' | 'sources' | 'ciphertexts'>,
    config: () => ResolvedConfig,
  ): void;
  /** Writes what has been announced since the last look. */
  stop(): Promise<void>;
};

/** Without a file nothing is handed over. */
export type HandoverOptions = HandoverFileOptions;

/** The name of the file in the directory that the unit gives. */
export const HANDOVER_FILE = 'announced-key.json';

/** How often the state is compared with what was written. */
const FOLLOW_MS = 1_000;
/** How often the entries of the decrypt cache are: with KMS v1 each write of an object changes them. */
const CIPHERTEXTS_MS = 60_000;

/** Reads what was handed over; a file that is missing, damaged or not to be trusted is none. */
export async function openHandover(options: HandoverOptions): Promise<Handover> {
  const { files, clock } = options;
  const file = await openHandoverFile(options);
  const read = file.content;
  let timer: Timer | undefined;
  let written: Content | undefined = read;
  let writing: Promise<void> | undefined;
  let latest: (() => Content | undefined) | undefined;
  let stopping = false;
  /** Keys that are written and not announced yet: what is announced still is older. */
  let announcing = 0;

  const write = async (content: Content): Promise<void> => {
    if (await file.write(content)) written = content;
  };

  /** Writes what is new, unless a write is under way. */
  const look = (): void => {
    const content = latest?.();
    if (content === undefined || writing !== undefined) return;
    if (announcing > 0 || isDeepStrictEqual(content, written)) return;
    writing = write(content).finally(() => {
      writing = undefined;
    });
  };

  const again = (): void => {
    look();
    timer = clock.setTimer(FOLLOW_MS, again);
  };

  return {
    leftFor(config) {
      if (read === undefined) return undefined;
      return {
        key: announce(read.description),
        isConfigured: isDeepStrictEqual(read.provider, providerOf(config)),
        sample: read.sample === undefined ? undefined : Buffer.from(read.sample, 'base64'),
        awaySince: read.awaySince,
        stopped: read.stopped,
        sources: read.sources.map((source) => Buffer.from(source, 'base64')),
        ciphertexts: read.ciphertexts.map((one) => Buffer.from(one, 'base64')),
      };
    },
    async announcing(key, sample, config) {
      if (files.length === 0) return;
      announcing += 1;
      // Its sources are to come: nothing has been encrypted under it.
      await write(contentOf(key, sample && toBase64(sample.ciphertext), [], [], config));
      announcing -= 1;
    },
    follow(keyring, config) {
      if (files.length === 0) return;
      let ciphertexts: readonly Uint8Array[] = [];
      let takenAt = Number.NEGATIVE_INFINITY;

      /** One sample serves for as long as its key is announced. */
      const sampleOf = (keyId: string): string | undefined => {
        const made = keyring.sample()?.ciphertext;
        return (written?.keyId === keyId ? written.sample : undefined) ?? (made && toBase64(made));
      };

      /** For the process after this one, whose clock may be set otherwise. */
      const timeOf = (since: number): number => clock.timeOfDay(since);

      latest = () => {
        const now = keyring.state();
        switch (now.kind) {
          case 'starting':
            // The first look says within seconds whether the provider is away.
            return now.key === undefined || now.why === undefined
              ? undefined
              : lastGood(written, now.key, { awaySince: timeOf(now.since) });
          case 'outage':
            // Where the provider went away at once the key is new; otherwise the last good one is better.
            return (
              lastGood(written, now.key, { awaySince: timeOf(now.since) }) ?? {
                ...contentOf(now.key, sampleOf(now.key.keyId), keyring.sources(), [], config()),
                awaySince: timeOf(now.since),
              }
            );
          case 'ready':
            if (stopping || clock.now() - takenAt >= CIPHERTEXTS_MS) {
              ciphertexts = keyring.ciphertexts();
              takenAt = clock.now();
            }
            return contentOf(
              ...([now.key, sampleOf(now.key.keyId), keyring.sources()] as const),
              ...([ciphertexts, config()] as const),
            );
          // Writes under it stay stopped: a process that began as if it could be used would let them go on.
          case 'lost':
          case 'refused':
            return now.key && lastGood(written, now.key, { stopped: now.kind });
        }
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

/** The last good one of this key, with what has become of it since. */
function lastGood(
  written: Content | undefined,
  { keyId }: AnnouncedKey,
  since: Pick<Content, 'awaySince' | 'stopped'>,
): Content | undefined {
  if (written?.keyId !== keyId) return undefined;
  const { stopped: _, ...rest } = written;
  return { ...rest, ...since };
}

function contentOf(
  { keyId, description }: AnnouncedKey,
  sample: string | undefined,
  sources: readonly Uint8Array[],
  ciphertexts: readonly Uint8Array[],
  config: ResolvedConfig,
): Content {
  return {
    ...{ kind: KIND, version: 1, provider: providerOf(config), keyId, description },
    ...(sample === undefined ? {} : { sample }),
    // In one order: that they took their turns is no change.
    sources: sources.map(toBase64).sort(),
    ciphertexts: ciphertexts.map(toBase64).sort(),
  };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/** What names the key that the configuration encrypts with. */
function providerOf({ providers, write }: ResolvedConfig): readonly string[] {
  const writer = providers.find(({ name }) => name === write[0]);
  return writer === undefined ? [] : keyOf(writer);
}
