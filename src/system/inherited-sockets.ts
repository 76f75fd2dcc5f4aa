/**
 * Sockets that the service manager opened and handed over, sd_listen_fds(3): it holds them open
 * while we are away, so that connections wait instead of being refused.
 */
import type { SocketRefusal } from './socket-rights.ts';
import { boundPath, type DescriptorKind, descriptorKind } from './unix-table.ts';

export type InheritedSocket = {
  readonly fd: number;
  /** From FileDescriptorName=; `unknown` where none was given. */
  readonly name: string;
};

export type InheritedSockets = {
  /** The one to serve on; undefined where none was handed over. */
  readonly kms: InheritedSocket | undefined;
  /** All others, left alone here; `notify` among them where OpenFile= made it. */
  readonly others: readonly InheritedSocket[];
  /** Sentences for the log: which sockets clients can connect to and nobody serves. */
  readonly warnings: readonly string[];
};

type Environment = Record<string, string | undefined>;

const FIRST_FD = 3;
const MOST_FDS = 1_024;
const MOST_NAMED = 4;
/** More than a path of a unix socket, unix(7). */
const MOST_SHOWN = 128;
const NOTIFY = 'notify';
const KMS_NAMES: readonly string[] = ['kms', 'trousseau.socket'];
/** The last is of systemd 258 and newer. */
const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'] as const;

/** What was handed to this process, or what is wrong with it. The variables are gone afterwards. */
export function takeInheritedSockets(
  env: Environment,
  pid: number,
  kindOf: (fd: number) => DescriptorKind = descriptorKind,
  pathOf: (fd: number) => string | undefined = boundPath,
): InheritedSockets | SocketRefusal {
  const sockets = listedSockets({ ...env }, pid);
  for (const name of VARIABLES) delete env[name];
  if ('problem' in sockets) return sockets;
  const kms = kmsSocket(
    sockets.filter(({ name }) => name !== NOTIFY),
    kindOf,
  );
  if (kms !== undefined && 'problem' in kms) return kms;
  const others = sockets.filter((socket) => socket !== kms);
  return { kms, others, warnings: unservedWarnings(others, kindOf, pathOf) };
}

/** systemd accepts connections on each line ListenStream=, and a client on one that is not served waits for ever. */
function unservedWarnings(
  others: readonly InheritedSocket[],
  kindOf: (fd: number) => DescriptorKind,
  pathOf: (fd: number) => string | undefined,
): readonly string[] {
  const unserved = others.filter(
    // A socket that is not in the table of unix sockets is one of TCP, or of another network namespace.
    ({ fd, name }) => name !== NOTIFY && ['listening', 'unlisted'].includes(kindOf(fd)),
  );
  if (unserved.length === 0) return [];
  const named = unserved.slice(0, MOST_NAMED).map(({ fd, name }) => {
    const path = pathOf(fd);
    return `fd ${fd} (${shown(name)}${path === undefined ? '' : `, ${shown(path)}`})`;
  });
  const more = unserved.length - named.length;
  return [
    `one socket is served, and calls on others that were handed over get no answer: ${named.join(', ')}${more === 0 ? '' : ` and ${more} more`}; where a drop-in of the socket unit sets another ListenStream=, an empty line ListenStream= must stand before it`,
  ];
}

function listedSockets(env: Environment, pid: number): readonly InheritedSocket[] | SocketRefusal {
  const { LISTEN_PID: forPid, LISTEN_FDS: count, LISTEN_FDNAMES: names } = env;
  if (forPid === undefined || count === undefined) return [];
  if (!/^\d+$/.test(forPid) || Number(forPid) === 0) {
    return { problem: `LISTEN_PID must be the number of a process; found ${shown(forPid)}` };
  }
  // Meant for a process that started us: systemd says so of scripts that run before.
  if (Number(forPid) !== pid) return [];
  if (!/^\d+$/.test(count) || Number(count) > MOST_FDS) {
    return { problem: `LISTEN_FDS must be a number up to ${MOST_FDS}; found ${shown(count)}` };
  }
  const given = names === undefined ? undefined : names.split(':');
  if (given !== undefined && given.length !== Math.max(1, Number(count))) {
    return { problem: `LISTEN_FDNAMES has ${given.length} names for LISTEN_FDS=${count}` };
  }
  return Array.from({ length: Number(count) }, (_, i) => ({
    fd: FIRST_FD + i,
    name: given?.[i] ?? 'unknown',
  }));
}

function kmsSocket(
  sockets: readonly InheritedSocket[],
  kindOf: (fd: number) => DescriptorKind,
): InheritedSocket | undefined | SocketRefusal {
  if (sockets.length === 0) return undefined;
  const named = sockets.filter(({ name }) => KMS_NAMES.includes(name));
  const kinds = (named.length > 0 ? named : sockets).map((socket) => ({
    socket,
    kind: kindOf(socket.fd),
  }));
  const closed = kinds.find(({ kind }) => kind === 'closed');
  if (closed !== undefined) {
    return { problem: `LISTEN_FDS names fd ${closed.socket.fd}, which is not open` };
  }
  const listening = kinds.filter(({ kind }) => kind === 'listening');
  // A socket of another network namespace cannot be looked up: trying to listen on it will tell.
  const usable = listening.length > 0 ? listening : kinds.filter(({ kind }) => kind === 'unlisted');
  const [first, second] = usable;
  if (first === undefined) {
    const list = kinds.map(({ socket }) => `${socket.fd} (${shown(socket.name)})`).join(', ');
    return {
      problem: `none of the inherited sockets is a listening unix stream socket: fd ${list}; use ListenStream= with a path`,
    };
  }
  if (second !== undefined && named.length === 0) {
    return {
      problem: `fd ${first.socket.fd} and ${second.socket.fd} are both listening unix sockets: give the one for kube-apiserver FileDescriptorName=kms`,
    };
  }
  return first.socket;
}

function shown(value: string): string {
  return JSON.stringify(value.slice(0, MOST_SHOWN));
}
