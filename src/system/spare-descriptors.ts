/**
 * File descriptors in reserve: where a process has reached its limit (RLIMIT_NOFILE), what proves that
 * it is well still needs some.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';

export type SpareDescriptors = {
  /** Gives them back while the work is done, which then finds free ones. */
  lend<T>(work: () => Promise<T>): Promise<T>;
  close(): void;
};

/** Holds as many as can be had; the caller must close them. */
export function holdSpareDescriptors(count: number): SpareDescriptors {
  const kept: number[] = [];
  const fill = (): void => {
    while (kept.length < count) {
      const fd = openNull();
      if (fd === undefined) return;
      kept.push(fd);
    }
  };
  const release = (): void => {
    for (const fd of kept.splice(0)) closeSync(fd);
  };
  fill();
  return {
    async lend(work) {
      release();
      try {
        return await work();
      } finally {
        fill();
      }
    },
    close: release,
  };
}

/** Whether this process, or the machine, has none left. */
export function areDescriptorsExhausted(): boolean {
  const fd = openNull();
  if (fd === undefined) return true;
  closeSync(fd);
  return false;
}

/** How many this process may have; undefined where the system does not say. */
export function descriptorLimit(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

function openNull(): number | undefined {
  try {
    return openSync('/dev/null', 'r');
  } catch {
    return undefined;
  }
}
