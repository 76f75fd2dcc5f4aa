/**
 * What a program does that AppArmor would ask about, out of strace's record of it in a tree of Debian. What
 * fails is left out: a file that is not there is asked about by nobody.
 */
import { realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** To be traced with `--decode-fds=path`. */
export const TRACED = '%file,mmap,socket,socketpair,connect,bind,sendto,sendmsg,flock';

export type Access =
  | { readonly kind: 'path'; readonly path: string; readonly rights: string }
  | { readonly kind: 'network'; readonly family: string; readonly type: string };

const CALL = /^\d+ +(\w+)\((.*)\) += (\d+|0x[0-9a-f]+)(?:<([^>]*)>)?/;
const SOCKET = /^AF_(\w+), SOCK_(\w+)/;
const CHANGES =
  /^(?:unlink|unlinkat|rename|renameat2?|mkdir|mkdirat|rmdir|symlink|symlinkat|chmod|fchmodat|truncate)$/;

/** Each once; paths are those inside `root`, without links. */
export function accessesOf(record: string, root: string): readonly Access[] {
  const found = new Map<string, Access>();
  for (const line of joined(record)) {
    const [, call = '', args = '', , result = ''] = CALL.exec(line) ?? [];
    for (const access of accessesOfCall(call, args, result, root))
      found.set(JSON.stringify(access), access);
  }
  return [...found.values()];
}

function accessesOfCall(
  call: string,
  args: string,
  result: string,
  root: string,
): readonly Access[] {
  const at = (path: string, rights: string): readonly Access[] =>
    path.startsWith('/') ? [{ kind: 'path', path: asNamed(path, root), rights }] : [];
  const inside = (path: string): string => (path.startsWith(root) ? path.slice(root.length) : path);
  const names = [...args.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, name = '']) => name);
  const [, socket] = /sun_path="([^"]*)"/.exec(args) ?? [];
  if (/^(?:open|openat|openat2|creat)$/.test(call)) return at(inside(result), rightsOf(args));
  if (call === 'execve') return at(resolved(names[0] ?? '', root), 'x');
  if (call === 'mmap' && args.includes('PROT_EXEC')) {
    const [, file = ''] = /\d+<(\/[^>]*)>/.exec(args) ?? [];
    return at(inside(file), 'm');
  }
  if (/^(?:link|linkat)$/.test(call)) return at(resolved(names[1] ?? '', root), 'l');
  if (CHANGES.test(call)) return names.flatMap((name) => at(resolved(name, root), 'w'));
  if (call === 'flock') return at(inside(/^\d+<([^>]*)>/.exec(args)?.[1] ?? ''), 'k');
  if (/^(?:connect|bind|sendto|sendmsg)$/.test(call) && socket !== undefined)
    return at(resolved(socket, root), 'w');
  if (/^socket(?:pair)?$/.test(call)) {
    const [, family = '', type = ''] = SOCKET.exec(args) ?? [];
    return [{ kind: 'network', family: family.toLowerCase(), type: type.toLowerCase() }];
  }
  return [];
}

/** Profiles name a folder with a slash at its end. */
function asNamed(path: string, root: string): string {
  const stats = statSync(join(root, path), { throwIfNoEntry: false });
  return stats?.isDirectory() === true && !path.endsWith('/') ? `${path}/` : path;
}

function rightsOf(args: string): string {
  if (args.includes('O_PATH')) return '';
  if (args.includes('O_RDWR')) return 'rw';
  return /O_WRONLY|O_CREAT/.test(args) ? 'w' : 'r';
}

/** Its folder without links; the file itself may be gone by now. */
function resolved(path: string, root: string): string {
  if (!path.startsWith('/')) return path;
  try {
    const real = realpathSync(join(root, path));
    return real.startsWith(root) ? real.slice(root.length) : path;
  } catch {
    const folder: string = path === '/' ? path : resolved(dirname(path), root);
    return join(folder, basename(path));
  }
}

/** A call that another thread's has interrupted stands on two lines. */
function joined(record: string): readonly string[] {
  const begun = new Map<string, string>();
  return record.split('\n').flatMap((line) => {
    const [, pid = ''] = /^(\d+) /.exec(line) ?? [];
    const unfinished = line.indexOf(' <unfinished ...>');
    if (unfinished >= 0) {
      begun.set(pid, line.slice(0, unfinished));
      return [];
    }
    const resumed = /<\.\.\. \w+ resumed>/.exec(line);
    return [
      resumed === null
        ? line
        : `${begun.get(pid) ?? ''}${line.slice(resumed.index + resumed[0].length)}`,
    ];
  });
}
