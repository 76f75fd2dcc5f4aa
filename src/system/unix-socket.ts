/**
 * Listening on a unix socket that is the only access control of what is behind it: nobody else may
 * replace it, foreign files and sockets are never touched, and the path leads to one process.
 */
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  lstatSync,
  mkdirSync,
  readFileSync,
} from 'node:fs';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import type { Clock } from './clock.ts';
import { makingReasonOf } from './files.ts';
import { watchPath } from './path-watch.ts';
import { type Claim, claimName, decide, isSame, type Outcome, statsOf } from './socket-claim.ts';
import { foreignRefusal, occupantOf, publish, withdraw } from './socket-publish.ts';
import { directoryRefusal, type SocketRefusal, shutOut } from './socket-rights.ts';

export type SocketOptions = {
  readonly path: string;
  /** Permission bits, e.g. 0o600. */
  readonly mode: number;
  /** Name or number of the group that owns it; ours where not given. */
  readonly group: string | undefined;
  /** Whether other users may write to the directory; they are trusted then. */
  readonly shared: boolean;
  /** Directories that the unit makes, and gives to its user and group at each start. */
  readonly ofUnit?: readonly string[];
  readonly clock: Clock;
  /** The path leads to this process no longer, and why; or undefined: it does again. */
  readonly changed: (lost: string | undefined) => void;
  /** A connection could not be accepted, and why; the next ones are. */
  readonly failed: (why: string) => void;
};

/** A socket that is being served. */
export type ServedSocket = {
  /** What a person should know, as sentences. */
  readonly warnings: readonly string[];
  /** Why clients cannot reach this process by the path, and what to do; undefined while they can. */
  lost(): string | undefined;
  /** Where a connection of our own reaches this process, and no other. */
  own(): string;
  /** Removes what is ours, and resolves when the last connection has ended. */
  close(): Promise<void>;
};

const DIRECTORY_MODE = 0o750;
const GROUP_RIGHTS = 0o060;
const TRIES = 10;
/** Connections that wait to be accepted; a unix socket refuses more at once with EAGAIN. */
export const BACKLOG = 4_096;

/**
 * Serves on the socket, which has no more rights than `mode` from its first moment on. A path that
 * is removed later is put back where nobody else has taken it. Resolves with a refusal where the
 * path, its directory, its group or another process forbid it.
 *
 * @param createServer makes a server for the same connections; called again for each try
 */
export async function serveOnSocket(
  createServer: () => Server,
  options: SocketOptions,
): Promise<ServedSocket | SocketRefusal> {
  const { path, clock } = options;
  const opened = await openSocket(createServer, options);
  if ('problem' in opened) return opened;
  let current = opened;
  let isClosed = false;
  const closing: Promise<void>[] = [];

  const takeBack = async (): Promise<string | undefined> => {
    if (isSame(statsOf(path), current.claim.inode)) return undefined;
    if (isSame(statsOf(current.claim.bound), current.claim.inode))
      return await publish(current.claim);
    const occupied = await occupantOf(path);
    if (occupied.problem !== undefined) return occupied.problem;
    const again = await openSocket(createServer, options);
    if ('problem' in again) return again.problem;
    closing.push(
      isClosed ? withdraw(again.server, again.claim) : withdraw(current.server, current.claim),
    );
    if (!isClosed) current = again;
    return undefined;
  };
  const watch = watchPath({
    ...{ path, clock, changed: options.changed },
    inode: () => current.claim.inode,
    takeBack,
  });
  return {
    warnings: opened.warnings,
    lost: watch.lost,
    own: () => (statsOf(current.claim.bound) === undefined ? path : current.claim.bound),
    async close() {
      isClosed = true;
      closing.push(withdraw(current.server, current.claim));
      await watch.stop();
      await Promise.all(closing);
    },
  };
}

type Opened = {
  readonly server: Server;
  readonly claim: Claim;
  readonly warnings: readonly string[];
};

async function openSocket(
  createServer: () => Server,
  options: SocketOptions,
): Promise<Opened | SocketRefusal> {
  const { path, mode, clock } = options;
  const gid = options.group === undefined ? undefined : groupId(options.group);
  if (gid === 'unknown') return unknownGroup(options);
  const directory = dirname(path);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const refusal = makeDirectory(directory, gid) ?? directoryRefusal(directory, options.shared);
    if (refusal !== undefined) return refusal;
    const server = createServer();
    const claim = await bind(server, path, mode, gid);
    if (claim === 'taken') continue;
    if ('problem' in claim) return claim;
    const outcome = await decide(claim, clock).catch(
      (error): Outcome => ({ problem: `cannot inspect ${directory}: ${describe(error)}` }),
    );
    const problem = outcome === 'won' ? await publish(claim) : undefined;
    if (outcome === 'won' && problem === undefined) {
      server.on('error', (error) => options.failed(describe(error)));
      const group = (mode & GROUP_RIGHTS) === 0 ? undefined : claim.inode.gid;
      const warnings = group === undefined ? [] : shutOut(directory, group, options);
      return { server, claim, warnings };
    }
    void withdraw(server, claim);
    if (outcome === 'lost') continue;
    return typeof outcome === 'object' ? outcome : { problem: problem ?? '' };
  }
  return { problem: `names beside ${path} are removed all the time: find out by whom` };
}

/**
 * Why this process could not make the socket, as far as that can be seen without making anything; undefined where it
 * could. Whether another process listens there is not asked.
 */
export function makingRefusal(
  options: Pick<SocketOptions, 'path' | 'group' | 'shared'>,
): SocketRefusal | undefined {
  const { path, group, shared } = options;
  if (group !== undefined && groupId(group) === 'unknown') return unknownGroup(options);
  const directory = dirname(path);
  try {
    const isThere = statsOf(directory) !== undefined;
    const refusal = isThere
      ? (directoryRefusal(directory, shared) ?? foreignRefusal(path, statsOf(path)))
      : undefined;
    if (refusal !== undefined) return refusal;
    accessSync(isThere ? directory : dirname(directory), constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return { problem: `cannot listen on ${path}: ${makingReasonOf(error)}` };
  }
}

function unknownGroup({ path, group }: Pick<SocketOptions, 'path' | 'group'>): SocketRefusal {
  return { problem: `group ${group} of socket ${path} is not in /etc/group: create it first` };
}

/** Only the last part of its path is made. */
function makeDirectory(directory: string, gid: number | undefined): SocketRefusal | undefined {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    return {
      problem: `cannot create directory ${directory} for the socket: ${makingReasonOf(error)}`,
    };
  }
  try {
    // The group of the socket must pass the directory, whatever the umask is.
    if (gid !== undefined) chownSync(directory, -1, gid);
    chmodSync(directory, DIRECTORY_MODE);
    return undefined;
  } catch (error) {
    return { problem: `cannot give directory ${directory} its group: ${describe(error)}` };
  }
}

/** Binds under a name of its own; `taken` where that name, or what was bound, is somebody else's. */
async function bind(
  server: Server,
  path: string,
  mode: number,
  gid: number | undefined,
): Promise<Claim | SocketRefusal | 'taken'> {
  const bound = claimName(path, randomBytes(4).toString('hex'));
  const listening = new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once('error', resolve);
    server.once('listening', () => {
      server.off('error', resolve);
      resolve(undefined);
    });
  });
  // Node binds within listen(), so the umask holds for exactly that.
  const umask = process.umask(0o177);
  try {
    server.listen({ path: bound, backlog: BACKLOG });
  } finally {
    process.umask(umask);
  }
  const failed = await listening;
  // ENOENT: somebody has removed the directory just now.
  if (failed?.code === 'EADDRINUSE' || failed?.code === 'ENOENT') return 'taken';
  if (failed !== undefined)
    return { problem: `cannot listen on ${path}: ${makingReasonOf(failed)}` };
  try {
    if (gid !== undefined) chownSync(bound, -1, gid);
    chmodSync(bound, mode);
    return { path, bound, inode: lstatSync(bound) };
  } catch (error) {
    server.close();
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return 'taken';
    const why =
      code === 'EPERM' && gid !== undefined
        ? `the user that runs this must be a member of the group (in a unit: SupplementaryGroups=), or root (${code})`
        : describe(error);
    return { problem: `cannot give socket ${path} its group and mode: ${why}` };
  }
}

/** The number of a group; NSS is not asked, since a control plane must start without it. */
function groupId(group: string): number | 'unknown' {
  if (/^\d+$/.test(group)) return Number(group);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${group}:`));
  const gid = Number(line?.split(':')[2] ?? Number.NaN);
  return Number.isInteger(gid) ? gid : 'unknown';
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
