/** What the kernel tells of unix sockets, proc_net(5); Node has no getsockopt(2) and no getsockname(2). */
import { fstatSync, readFileSync } from 'node:fs';

/** What a file descriptor is; `unlisted` is a socket that is not among our network namespace's. */
export type DescriptorKind = 'listening' | 'other' | 'unlisted' | 'closed';

const LISTENING = 0x10000; // __SO_ACCEPTCON
const STREAM = 1;

/** What a file descriptor of this process is, as /proc tells it; Node has no getsockopt(2). */
export function descriptorKind(fd: number): DescriptorKind {
  let inode: number;
  try {
    const stats = fstatSync(fd);
    if (!stats.isSocket()) return 'other';
    inode = stats.ino;
  } catch {
    return 'closed';
  }
  return kindInTable(readUnixTable(), inode);
}

/** Looks a socket up in the text of /proc/net/unix; see proc_net(5). */
export function kindInTable(table: string, inode: number): DescriptorKind {
  for (const line of table.split('\n').slice(1)) {
    const [, , , flags = '', type = '', , found] = line.trim().split(/\s+/);
    if (Number(found) !== inode) continue;
    const listens = (Number.parseInt(flags, 16) & LISTENING) !== 0;
    return listens && Number.parseInt(type, 16) === STREAM ? 'listening' : 'other';
  }
  return 'unlisted';
}

/** The path, or `@NAME`, that a socket of ours was bound to, where the kernel tells it. */
export function boundPath(fd: number): string | undefined {
  try {
    return pathInTable(readUnixTable(), fstatSync(fd).ino);
  } catch {
    return undefined; // not open
  }
}

/** Looks a socket's path up in the text of /proc/net/unix; see proc_net(5). */
export function pathInTable(table: string, inode: number): string | undefined {
  for (const line of table.split('\n').slice(1)) {
    const [, found, path] = /^(?:\S+\s+){6}(\d+) ([/@].*)$/.exec(line.trim()) ?? [];
    if (Number(found) === inode) return path;
  }
  return undefined;
}

function readUnixTable(): string {
  try {
    return readFileSync('/proc/self/net/unix', 'utf8');
  } catch {
    return '';
  }
}
