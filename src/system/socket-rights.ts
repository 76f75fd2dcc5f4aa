/**
 * Which users can replace a socket. The socket is the only access control of what is behind it, and a
 * path's rights are those of all its parts: a user that may write to a directory of the path may replace
 * what is in it.
 */
import { lstatSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { dirname, join } from 'node:path';

/** Why a socket cannot be listened on; the message says what to do. */
export type SocketRefusal = { readonly problem: string };

export type Directory = { readonly path: string; readonly stats: Stats };

const WRITE = { group: 0o020, others: 0o002 } as const;
const PASS = { group: 0o010, others: 0o001 } as const;
/** Only the owner of an entry, or of the directory, may remove or rename it; unlink(2), EPERM. */
const STICKY = 0o1000;
const MAX_LINKS = 40;
const ROOT = 0;

/**
 * The directories that are passed on the way to `directory`, itself the last. Symbolic links are
 * followed before the last part, as the kernel does, and where they lead is among them.
 *
 * @throws the error of the file system where one of them cannot be inspected
 */
export function directoriesTo(directory: string): readonly Directory[] {
  const found: Directory[] = [{ path: '/', stats: lstatSync('/') }];
  const rest = directory.split('/').filter((part) => part !== '');
  let links = 0;
  let current = '/';
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === '.') continue;
    const path = part === '..' ? dirname(current) : join(current, part);
    const stats = lstatSync(path);
    if (stats.isSymbolicLink() && rest.length > 0) {
      links += 1;
      if (links > MAX_LINKS) throw Object.assign(new Error('too many links'), { code: 'ELOOP' });
      const target = readlinkSync(path);
      rest.unshift(...target.split('/').filter((name) => name !== ''));
      if (target.startsWith('/')) current = '/';
      continue;
    }
    current = path;
    found.push({ path, stats });
  }
  return found;
}

/**
 * Refuses a directory in which somebody else could replace the socket.
 *
 * @param shared whether the configuration says that all users that can write there are trusted
 */
export function directoryRefusal(directory: string, shared: boolean): SocketRefusal | undefined {
  const directories = inspected(directory);
  if ('problem' in directories) return directories;
  const last = directories.at(-1);
  if (last === undefined || !last.stats.isDirectory()) {
    return {
      problem: `${directory} is not a directory (links are not followed): name its real path`,
    };
  }
  for (const { path, stats } of directories) {
    const isLast = path === last.path;
    if (!isOwnedByUs(stats) && (isLast || !isUnmapped(stats.uid))) {
      return {
        problem: `directory ${path} belongs to another user (uid ${stats.uid}): make it root's or this user's`,
      };
    }
    if (shared || !canBeWritten(stats)) continue;
    if (isLast)
      return { problem: `directory ${path} can be written by others: ${advice(path, stats)}` };
    if ((stats.mode & STICKY) === 0) {
      return {
        problem: `directory ${path}, above the socket's, can be written by others: chmod go-w ${path}, or name a socket elsewhere; in a volume that only trusted containers share, set listen.sharedDirectory: true`,
      };
    }
  }
  return undefined;
}

export type ShutOutOptions = {
  /** Directories of RuntimeDirectory=, systemd.exec(5). */
  readonly ofUnit?: readonly string[];
  readonly isUnknown?: (gid: number) => boolean;
};

/** Directories whose rights keep the group of a socket from reaching it, each with what to do. */
export function shutOut(
  directory: string,
  gid: number,
  { ofUnit = [], isUnknown = isUnmapped }: ShutOutOptions = {},
): readonly string[] {
  const directories = inspected(directory);
  if ('problem' in directories) return [];
  // In a user namespace all groups without a number have one: of two of them nobody can say whether they are the same.
  const isHidden = isUnknown(gid);
  const who = isHidden ? 'the group of the socket' : `group ${gid}`;
  const advice = (path: string, isOwn: boolean): string => {
    if (!ofUnit.includes(path))
      return `${isOwn ? '' : `chgrp ${isHidden ? 'GROUP' : gid} ${path}; `}chmod g+x ${path}`;
    return isOwn
      ? 'set RuntimeDirectoryMode=0750 in the service unit'
      : 'set Group= in the service unit to that group too, since systemd undoes at each start what chgrp does there';
  };
  return directories
    .filter(({ stats }) =>
      stats.gid === gid
        ? !isHidden && (stats.mode & PASS.group) === 0
        : (stats.mode & PASS.others) === 0,
    )
    .map(
      ({ path, stats }) =>
        `${who} may use the socket, but cannot pass directory ${path} (group ${stats.gid}, mode ${octal(stats)}): ${advice(path, stats.gid === gid)}`,
    );
}

/** Whether root or this process' user owns it. */
export function isOwnedByUs({ uid }: Stats): boolean {
  return uid === ROOT || uid === process.getuid?.();
}

/** The permission bits, as chmod(1) takes them. */
export function octal({ mode }: Stats): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

function inspected(directory: string): readonly Directory[] | SocketRefusal {
  try {
    return directoriesTo(directory);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { problem: `cannot inspect directory ${directory}: ${code ?? message}` };
  }
}

/** Root's own group is root. */
function canBeWritten({ mode, gid }: Stats): boolean {
  return (mode & WRITE.others) !== 0 || ((mode & WRITE.group) !== 0 && gid !== ROOT);
}

function advice(path: string, { mode }: Stats): string {
  return (mode & STICKY) !== 0
    ? `give the socket a directory of its own, such as ${join(path, 'trousseau')}`
    : `chmod 0750 ${path}, or give the socket a directory of its own; in a volume that only trusted containers share, set listen.sharedDirectory: true`;
}

const ALL_USERS = /^\s*0\s+0\s+4294967295\s*$/;
/** What Linux shows for a user or group without a number in this user namespace; user_namespaces(7). */
const OVERFLOW_ID = 65_534;

/** In a user namespace the machine's root, and most groups, may have no number. */
function isUnmapped(id: number): boolean {
  if (id !== OVERFLOW_ID) return false;
  try {
    return !ALL_USERS.test(readFileSync('/proc/self/uid_map', 'utf8'));
  } catch {
    return false; // without /proc there is no sign of a namespace
  }
}
