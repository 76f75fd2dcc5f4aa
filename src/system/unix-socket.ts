/**
 * Listening on a unix socket that is the only access control of what is behind it: nobody else may
 * replace it, foreign files are never touched, and a stale socket is removed only after proof that
 * nobody listens on it.
 */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  type Stats,
  unlinkSync,
} from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';

/** Why a socket cannot be listened on; the message says what to do. */
export type SocketRefusal = { readonly problem: string };

export type SocketOptions = {
  readonly path: string;
  /** Permission bits, e.g. 0o600. */
  readonly mode: number;
  /** Name or number of the group that owns it; ours where not given. */
  readonly group: string | undefined;
};

const GROUP_OR_WORLD_WRITE = 0o022;
const DIRECTORY_MODE = 0o750;
const PROBE_TIMEOUT_MS = 1_000;
/** Connections that wait to be accepted; a unix socket refuses more at once with EAGAIN. */
export const BACKLOG = 4_096;

/**
 * Makes the server listen on the socket, created with no more rights than `mode` from its first
 * moment on. Resolves with a refusal where the path, its directory or its group forbid it.
 */
export async function listenOnSocket(
  server: Server,
  options: SocketOptions,
): Promise<SocketRefusal | undefined> {
  const { path, mode } = options;
  const gid = options.group === undefined ? undefined : groupId(options.group);
  if (gid === 'unknown') {
    return {
      problem: `group ${options.group} of socket ${path} is not in /etc/group: create it first`,
    };
  }
  const refusal = directoryRefusal(dirname(path)) ?? (await occupantRefusal(path));
  if (refusal !== undefined) return refusal;
  const listening = new Promise<SocketRefusal | undefined>((resolve) => {
    const onError = (error: NodeJS.ErrnoException): void =>
      resolve({ problem: `cannot listen on ${path}: ${error.code ?? error.message}` });
    server.once('error', onError);
    server.once('listening', () => {
      server.off('error', onError);
      resolve(undefined);
    });
  });
  // Node binds within listen(), so the umask holds for exactly that.
  const umask = process.umask(0o177);
  try {
    server.listen({ path, backlog: BACKLOG });
  } finally {
    process.umask(umask);
  }
  const failed = await listening;
  if (failed !== undefined) return failed;
  try {
    if (gid !== undefined) chownSync(path, -1, gid);
    chmodSync(path, mode);
  } catch (error) {
    server.close();
    return { problem: `cannot give socket ${path} its group and mode: ${describe(error)}` };
  }
  return undefined;
}

/** Whoever may write to the directory may put a socket of their own in our place. */
function directoryRefusal(directory: string): SocketRefusal | undefined {
  try {
    mkdirSync(directory, { mode: DIRECTORY_MODE });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      return { problem: `cannot create directory ${directory} for the socket: ${describe(error)}` };
    }
  }
  const stats = statsOf(directory);
  if (stats === undefined || !stats.isDirectory()) {
    return {
      problem: `${directory} is not a directory (links are not followed): name its real path`,
    };
  }
  if (stats.uid !== 0 && stats.uid !== process.getuid?.()) {
    return {
      problem: `directory ${directory} belongs to another user (uid ${stats.uid}): make it root's or this user's`,
    };
  }
  if ((stats.mode & GROUP_OR_WORLD_WRITE) !== 0) {
    return { problem: `directory ${directory} can be written by others: chmod 0750 ${directory}` };
  }
  return undefined;
}

async function occupantRefusal(path: string): Promise<SocketRefusal | undefined> {
  const occupant = statsOf(path);
  if (occupant === undefined) return undefined;
  if (!occupant.isSocket()) {
    const kind = occupant.isSymbolicLink() ? 'a symbolic link' : 'not a socket';
    return { problem: `${path} exists and is ${kind}: remove it, or name another path` };
  }
  if (occupant.uid !== 0 && occupant.uid !== process.getuid?.()) {
    return {
      problem: `socket ${path} belongs to another user (uid ${occupant.uid}): remove it, or name another path`,
    };
  }
  const answer = await probe(path);
  if (answer !== 'ECONNREFUSED') {
    return {
      problem:
        answer === 'connected'
          ? `another process listens on ${path}: stop it first`
          : `cannot tell whether another process listens on ${path} (${answer}): stop it and remove the socket`,
    };
  }
  const now = statsOf(path);
  if (now !== undefined && (now.ino !== occupant.ino || now.dev !== occupant.dev)) {
    return { problem: `another process has just begun to listen on ${path}: stop it first` };
  }
  unlinkSync(path);
  return undefined;
}

/** `connected`, or the error's code: ECONNREFUSED alone proves that nobody listens. */
function probe(path: string): Promise<string> {
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

function statsOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
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
