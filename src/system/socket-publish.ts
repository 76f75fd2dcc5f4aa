/** Puts a path on the socket of a claim that has won, and takes it away again. */
import { linkSync, renameSync, type Stats } from 'node:fs';
import type { Server } from 'node:net';
import { type Claim, inUse, isSame, nextName, probe, removeName, statsOf } from './socket-claim.ts';
import { isOwnedByUs, type SocketRefusal } from './socket-rights.ts';

const TRIES = 10;

/**
 * Puts the path on a claim that has won. It exists all the time, also where it takes the place of a
 * stale one. Answers why that cannot be.
 */
export async function publish(claim: Claim): Promise<string | undefined> {
  const { path, bound, inode } = claim;
  const next = nextName(claim);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const { problem, stale } = await occupantOf(path);
    if (problem !== undefined) return problem;
    try {
      if (stale === undefined) {
        linkSync(bound, path);
        return undefined;
      }
      linkSync(bound, next);
      if (isSame(statsOf(path), stale)) {
        renameSync(next, path);
        return undefined;
      }
      removeName(next);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EEXIST') return `cannot put socket ${path} in its place: ${describe(error)}`;
    }
    if (isSame(statsOf(path), inode)) return undefined;
  }
  return `other processes come and go on ${path}: have only one`;
}

type Occupant = { readonly problem?: string; readonly stale?: Stats };

/** What is at the path: nothing, a socket that nobody listens on, or a reason to touch nothing. */
export async function occupantOf(path: string): Promise<Occupant> {
  const stats = statsOf(path);
  if (stats === undefined) return {};
  const foreign = foreignRefusal(path, stats);
  if (foreign !== undefined) return foreign;
  const answer = await probe(path);
  if (answer === 'ENOENT') return {};
  return answer === 'ECONNREFUSED' ? { stale: stats } : { problem: inUse(path, answer) };
}

/** Why what is at the path is not replaced, whoever listens there; undefined where it may be. */
export function foreignRefusal(path: string, stats: Stats | undefined): SocketRefusal | undefined {
  if (stats === undefined) return undefined;
  if (!stats.isSocket()) {
    const kind = stats.isSymbolicLink() ? 'a symbolic link' : 'not a socket';
    return { problem: `${path} exists and is ${kind}: remove it, or name another path` };
  }
  return isOwnedByUs(stats)
    ? undefined
    : {
        problem: `socket ${path} belongs to another user (uid ${stats.uid}): remove it, or name another path`,
      };
}

/** Removes only what is on our inode; while we listen, its number is nobody else's. */
export function withdraw(server: Server, claim: Claim): Promise<void> {
  const { path, bound, inode } = claim;
  const ours = isSame(statsOf(path), inode) ? [path] : [];
  for (const name of [...ours, nextName(claim), bound]) {
    try {
      removeName(name);
    } catch {
      // A directory that cannot be written any more: the next start removes what nobody listens on.
    }
  }
  return new Promise((resolve) => server.close(() => resolve()));
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
