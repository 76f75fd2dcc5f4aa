/**
 * Notices that the path of a socket does not lead to this process any more: it was removed, its
 * directory was replaced, or another process has put a socket of its own there. The kernel
 * does not report that to the process that listens.
 */

import type { Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import type { Clock, Timer } from './clock.ts';
import { isSame } from './socket-claim.ts';

export type PathWatchOptions = {
  readonly path: string;
  readonly clock: Clock;
  /** What the path must lead to. */
  readonly inode: () => Stats;
  /** Makes the path lead here again where that is safe; answers why not. */
  readonly takeBack: () => Promise<string | undefined>;
  /** The path is lost, and why; or undefined: it leads here again. */
  readonly changed: (lost: string | undefined) => void;
};

export type PathWatch = {
  /** Undefined while the path leads here. */
  lost(): string | undefined;
  /** Resolves when nothing is under way any more. */
  stop(): Promise<void>;
};

const CHECK_MS = 2_000;

/** Checks until it is stopped; one check at a time, so that a file system that hangs costs one. */
export function watchPath(options: PathWatchOptions): PathWatch {
  const { path, clock, inode, takeBack, changed } = options;
  let lost: string | undefined;
  let stopped = false;
  let timer: Timer | undefined;
  let checking: Promise<void> = Promise.resolve();

  const become = (why: string | undefined): void => {
    if (stopped || why === lost) return;
    lost = why;
    changed(why);
  };
  const check = async (): Promise<void> => {
    const found = await lstat(path).catch(() => undefined);
    if (stopped) return;
    if (isSame(found, inode())) return become(undefined);
    const why = await takeBack().catch(describe);
    // That it was away is worth a line also where it is back at once.
    if (why === undefined) become(`${path} was removed or replaced`);
    become(why);
  };
  const wait = (): void => {
    timer = clock.setTimer(CHECK_MS, () => {
      checking = check().finally(() => {
        if (!stopped) wait();
      });
    });
  };
  wait();
  return {
    lost: () => lost,
    async stop() {
      stopped = true;
      timer?.cancel();
      await checking;
    },
  };
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
