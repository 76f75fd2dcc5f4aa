/**
 * Notices that a file has changed, by events of the directory that it is in: editors and deployment
 * tools replace files instead of writing them, and the kubelet swaps the link `..data` beside them
 * (ConfigMaps and Secrets as volumes), so that a watch on the file itself would lose sight of it.
 */
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import type { Clock, Timer } from './clock.ts';
import { shareRead } from './read-file.ts';

export type FileWatch = { stop(): void };

export type FileWatchOptions = {
  readonly clock: Clock;
  /** A burst of events counts as one change, this long after the last of them. */
  readonly settleMs: number;
  /** The file may have changed; also called once the watch has begun, for what changed before. */
  readonly changed: () => void;
  /** Called at most once: from now on nothing is noticed any more, and why. */
  readonly lost: (why: string) => void;
};

/** The link that the kubelet swaps; kubernetes/pkg/volume/util/atomic_writer.go. */
const DATA_LINK = '..data';

/** Watches until it is stopped or lost. */
export function watchFile(file: string, options: FileWatchOptions): FileWatch {
  const { clock, settleMs, changed } = options;
  const path = resolve(file);
  const directory = dirname(path);
  const names = new Set([basename(path), DATA_LINK]);
  let watcher: FSWatcher | undefined;
  let timer: Timer | undefined;
  let place: string | undefined;
  let comparing: 'no' | 'yes' | 'and again' = 'no';
  let stopped = false;

  const stop = (): void => {
    stopped = true;
    timer?.cancel();
    watcher?.close();
    watcher = undefined;
  };
  const lose = (why: string): void => {
    if (stopped) return;
    stop();
    options.lost(`${directory}: ${why}`);
  };
  /** One at a time, and once more for what came meanwhile. */
  const compare = async (): Promise<void> => {
    if (comparing !== 'no') {
      comparing = 'and again';
      return;
    }
    do {
      comparing = 'yes';
      if ((await placeOf(directory)) !== place) lose('it was removed or replaced');
    } while (isWantedAgain());
    comparing = 'no';
  };
  const isWantedAgain = (): boolean => comparing === 'and again';
  const onEvent = (_event: string, name: string | null): void => {
    if (stopped) return;
    // What happens to the directory itself comes under its own name.
    if (name === null || name === basename(directory)) void compare();
    if (name !== null && !names.has(name)) return;
    timer?.cancel();
    timer = clock.setTimer(settleMs, changed);
  };
  const begin = async (): Promise<void> => {
    // The call that begins a watch would hold the whole process where the file system does not answer.
    place = await placeOf(directory);
    if (stopped) return;
    if (place === UNANSWERED) {
      lose('its file system does not answer');
      return;
    }
    try {
      watcher = watch(directory, onEvent);
      watcher.on('error', (error: NodeJS.ErrnoException) => lose(error.code ?? error.message));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      lose(code ?? message);
      return;
    }
    changed();
  };
  void begin();
  return { stop };
}

const MISSING = 'missing';
const UNANSWERED = 'unanswered';

/** Names one directory for as long as it lives, whatever its path leads to later. Never rejects. */
async function placeOf(directory: string): Promise<string> {
  try {
    const { dev, ino } = await shareRead('stat', directory, () => stat(directory));
    return `${dev}:${ino}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === undefined ? UNANSWERED : MISSING;
  }
}
