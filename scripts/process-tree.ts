/** The processes below one of Linux, which a time limit ends all together. */
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

type Entry = { readonly pid: number; readonly parent: number; readonly args: readonly string[] };

/** The children of a process whose command line names this file, from the folder of this process on. */
export function childrenWith(parent: number, file: string): readonly number[] {
  return all()
    .filter((one) => one.parent === parent && one.args.some((arg) => resolve(arg) === file))
    .map(({ pid }) => pid);
}

/** Sends SIGKILL to a process and all that it and its children have started and not left to others. */
export function killTree(root: number): void {
  const entries = all();
  const found = [root];
  for (const parent of found) {
    for (const one of entries) if (one.parent === parent) found.push(one.pid);
  }
  for (const pid of found) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // It has ended by itself.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

function all(): readonly Entry[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid)) return [];
    try {
      // The name of the program is in parentheses, and may hold any character.
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return [{ pid, parent: Number(parent), args }];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}
