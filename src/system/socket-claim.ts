/**
 * Which of several processes serves a path. Each binds its socket under a name of its own that is
 * never used again, `.NAME.ID` beside the path. A process that finds nobody listening on another such
 * name puts the path on its own. The kernel ends the claim with the process, so that nothing stale is ever in the way;
 * docs/decisions/0011-one-process-a-socket.md says why it cannot have two winners.
 */
import { lstatSync, readdirSync, type Stats, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { type Clock, sleep } from './clock.ts';
import type { SocketRefusal } from './socket-rights.ts';

/** The second name of a claim's socket, for the moment in which it takes the place of a stale one. */
export function nextName({ bound }: Pick<Claim, 'bound'>): string {
  return `${bound}n`;
}

/** A name that this process has bound, and listens on. */
export type Claim = {
  /** What it is a claim on. */
  readonly path: string;
  readonly bound: string;
  /** The inode of the socket under that name. */
  readonly inode: Stats;
};

/** `lost`: somebody has removed our name, so that others cannot see us. */
export type Outcome = 'won' | 'lost' | SocketRefusal;

const PROBE_TIMEOUT_MS = 1_000;
const POLL_MS = 20;
const POLLS = 100;
const ID = /^[0-9a-f]{8}n?$/;

/** How many bytes a name beside the path is longer than it at most. */
export const CLAIM_BYTES = 11;

/** The name for a claim on the path; `id` is eight hexadecimal digits. */
export function claimName(path: string, id: string): string {
  return join(dirname(path), `.${basename(path)}.${id}`);
}

/**
 * Decides a claim. Of several that begin at once the one whose name is the first in order wins: it
 * waits until the others have given up, for two seconds at most.
 */
export async function decide(claim: Claim, clock: Clock): Promise<Outcome> {
  const never = new AbortController().signal;
  for (let polls = 0; polls < POLLS; polls += 1) {
    const others = await listeningBeside(claim);
    if (!isSame(statsOf(claim.bound), claim.inode)) return 'lost';
    const [other] = others;
    if (other === undefined) return 'won';
    const atPath = statsOf(claim.path);
    const owner = others.find(({ inode }) => isSame(atPath, inode));
    if (owner !== undefined) return { problem: inUse(claim.path, owner.answer) };
    if (others.some(({ name }) => name < claim.bound)) return { problem: contested(claim.path) };
    await sleep(clock, POLL_MS, never);
  }
  return { problem: contested(claim.path) };
}

type Other = { readonly name: string; readonly inode: Stats; readonly answer: string };

/**
 * The names of others, as long as somebody listens on them. Names that nobody listens on are removed:
 * they are never used again, so that no process can listen under one later.
 */
async function listeningBeside({ path, bound }: Claim): Promise<readonly Other[]> {
  const others: Other[] = [];
  for (const name of namesBeside(path).sort()) {
    if (name.startsWith(bound)) continue;
    const inode = statsOf(name);
    if (inode === undefined || !inode.isSocket()) continue;
    const answer = await probe(name);
    if (answer === 'ENOENT') continue;
    if (answer === 'ECONNREFUSED') removeName(name);
    else others.push({ name, inode, answer });
  }
  return others;
}

function namesBeside(path: string): string[] {
  const prefix = `.${basename(path)}.`;
  return namesIn(dirname(path))
    .filter((name) => name.startsWith(prefix) && ID.test(name.slice(prefix.length)))
    .map((name) => join(dirname(path), name));
}

/** None where the directory was removed: then our own name is gone too. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Why a socket that answers in this way is not replaced. */
export function inUse(path: string, answer: string): string {
  return LISTENING.includes(answer)
    ? `another process listens on ${path}: stop it first`
    : `cannot tell whether another process listens on ${path} (${answer}): if none does, rm ${path}`;
}

function contested(path: string): string {
  return `another process is about to listen on ${path}, or stops just now: have only one, and start it again`;
}

/** `EAGAIN`: its queue of connections is full. */
const LISTENING: readonly string[] = ['connected', 'EAGAIN', 'no answer'];

/** `connected`, or the error's code: ECONNREFUSED alone proves that nobody listens. */
export function probe(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.setTimeout(PROBE_TIMEOUT_MS);
    const end = (answer: string): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end('connected'));
    socket.once('timeout', () => end('no answer'));
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}

/** What is at a path, links not followed; undefined where there is nothing. */
export function statsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** Whether both are one inode; of a socket that is listened on, the number is not used again. */
export function isSame(found: Stats | undefined, inode: Stats): boolean {
  return found !== undefined && found.ino === inode.ino && found.dev === inode.dev;
}

/** Removes a name that is nobody else's; it may be gone already. */
export function removeName(name: string): void {
  try {
    unlinkSync(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
