/** A lock for programs that change one file one after the other; Node has no flock(2). */
import { open, readFile, rm } from 'node:fs/promises';
import { ifMissing } from './files.ts';

/** Who holds the lock, as a sentence that says what to do. */
export type Locked = { readonly locked: string };

/**
 * Does the work while nobody else holds `path`. A lock that was left behind is not taken over: two
 * who do so at once would both believe to hold it. A person is told to remove it instead.
 */
export async function withLockFile<T>(path: string, work: () => Promise<T>): Promise<T | Locked> {
  let mine = false;
  try {
    const file = await open(path, 'wx', 0o600);
    mine = true;
    await file.writeFile(`${process.pid}\n`).finally(() => file.close());
  } catch (error) {
    // It exists also where a full disk has no room for what belongs into it.
    if (mine) await rm(path, { force: true });
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const pid = (await readFile(path, 'utf8').catch(ifMissing))?.trim() ?? '';
    const holder = pid === '' ? 'another process' : `process ${pid}`;
    return {
      locked: `${holder} is at work there: try again when it has ended, or remove ${path} if it ended without doing so`,
    };
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}
