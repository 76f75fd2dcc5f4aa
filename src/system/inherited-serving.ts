/**
 * Serving on a socket that the service manager opened: it is the only access control of what is
 * behind it, so that its rights are checked as those of our own would be.
 */
import type { Stats } from 'node:fs';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import type { InheritedSocket } from './inherited-sockets.ts';
import { watchPath } from './path-watch.ts';
import { statsOf } from './socket-claim.ts';
import {
  directoryRefusal,
  isOwnedByUs,
  octal,
  type SocketRefusal,
  shutOut,
} from './socket-rights.ts';
import { BACKLOG, type ServedSocket, type SocketOptions } from './unix-socket.ts';
import { boundPath } from './unix-table.ts';

export type InheritedOptions = Pick<
  SocketOptions,
  'shared' | 'ofUnit' | 'clock' | 'changed' | 'failed'
> & {
  /** Where the socket is, where the kernel does not tell: one of another network namespace. */
  readonly path: string;
};

/**
 * Serves on an inherited socket, whose rights must be such as our own would have. Closing it closes
 * our copy only: the path stays, and connections that were not accepted wait for the next process.
 */
export async function serveOnInherited(
  createServer: () => Server,
  socket: InheritedSocket,
  options: InheritedOptions,
): Promise<ServedSocket | SocketRefusal> {
  const server = createServer();
  const refused = await listenOnInherited(server, socket);
  if (refused !== undefined) return refused;
  // Before the event loop turns, so that no connection was accepted yet.
  const place = placeOf(socket, options);
  if ('problem' in place) {
    server.close();
    return place;
  }
  server.on('error', ({ message }) => options.failed(message));
  const { path, inode } = place;
  const watch = watchPath({
    ...{ path, clock: options.clock, changed: options.changed },
    inode: () => inode,
    takeBack: async () =>
      `the path ${path} of the inherited socket was removed or replaced: ${RESTART_SOCKET}`,
  });
  return {
    warnings: (inode.mode & GROUP_RIGHTS) === 0 ? [] : shutOut(dirname(path), inode.gid, options),
    lost: watch.lost,
    own: () => path,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      await watch.stop();
      await closed;
    },
  };
}

type Place = { readonly path: string; readonly inode: Stats };

/** It restarts the service too, and makes the socket as its unit says. */
const RESTART_SOCKET = 'systemctl restart trousseau.socket';
const GROUP_RIGHTS = 0o060;
const RIGHTS_OF_OTHERS = 0o007;

/** Where an inherited socket is, or why it must not be served. */
function placeOf(
  { fd, name }: InheritedSocket,
  { path: configured, shared }: InheritedOptions,
): Place | SocketRefusal {
  const what = `inherited socket fd ${fd} (${shown(name)})`;
  const bound = boundPath(fd);
  if (bound?.startsWith('@')) {
    return {
      problem: `${what} is the abstract socket ${shown(bound)}, which everybody may use: set ListenStream= in the socket unit to a path`,
    };
  }
  const path = bound ?? configured;
  const remedy =
    bound === undefined
      ? 'set listen.socket to the path in ListenStream= of the socket unit'
      : RESTART_SOCKET;
  const inode = inodeAt(path, shared, what, remedy);
  return 'problem' in inode ? inode : { path, inode };
}

/**
 * Why a process that is handed the socket at this path would not serve on it, as far as that can be seen without the
 * socket; undefined where it would.
 */
export function inheritedRefusal(path: string, shared: boolean): SocketRefusal | undefined {
  const inode = inodeAt(path, shared, 'the socket that systemd hands over', RESTART_SOCKET);
  return 'problem' in inode ? inode : undefined;
}

/** The socket at the path of an inherited one, or why that must not be served. */
function inodeAt(
  path: string,
  shared: boolean,
  what: string,
  remedy: string,
): Stats | SocketRefusal {
  const inode = statsOf(path);
  if (inode === undefined || !inode.isSocket()) {
    return {
      problem: `the rights of ${what} cannot be checked, since there is no socket at ${path}: ${remedy}`,
    };
  }
  if (!isOwnedByUs(inode)) {
    return {
      problem: `${what} at ${path} belongs to another user (uid ${inode.uid}): set SocketUser= in the socket unit to root or to this user, and chown root ${path} now`,
    };
  }
  if ((inode.mode & RIGHTS_OF_OTHERS) !== 0) {
    return {
      problem: `${what} at ${path} can be used by everybody (mode ${octal(inode)}): set SocketMode=0660 in the socket unit, and SocketGroup= to the group of kube-apiserver, and chmod 0660 ${path} now`,
    };
  }
  const refusal = directoryRefusal(dirname(path), shared);
  return refusal === undefined
    ? inode
    : {
        problem: `${refusal.problem} (${what}; DirectoryMode= and ListenStream= of the socket unit)`,
      };
}

/** Makes the server accept on an inherited socket. */
export function listenOnInherited(
  server: Server,
  { fd, name }: InheritedSocket,
): Promise<SocketRefusal | undefined> {
  const what = `inherited socket fd ${fd} (${shown(name)})`;
  return new Promise((resolve) => {
    const onError = (error: NodeJS.ErrnoException): void =>
      resolve({ problem: `cannot listen on ${what}: ${error.code ?? error.message}` });
    server.once('error', onError);
    // Listening again sets the backlog; a smaller one would refuse bursts.
    server.listen({ fd }, BACKLOG, () => {
      server.off('error', onError);
      // Only a TCP socket has an address here, and the KMS API has no other access control.
      if (server.address() === null) return resolve(undefined);
      server.close();
      resolve({ problem: `${what} is not a unix socket: use ListenStream= with a path` });
    });
  });
}

function shown(value: string): string {
  return JSON.stringify(value.slice(0, 64));
}
