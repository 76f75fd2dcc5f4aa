/**
 * Whether the user that runs the service can read a file. root, who checks a configuration, can read every
 * file, and would not see that the service cannot.
 */
import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A user, with all groups that it is in. */
export type Account = {
  readonly name: string;
  /** The name of its first group, or the number where it has none. */
  readonly group: string;
  readonly uid: number;
  readonly gids: ReadonlySet<number>;
};

/** What gives a file to an account: it stays root's and the group reads it, or, of a keyring, it becomes the account's own. */
export type Ownership = 'group' | 'owner';

const READ = 4;
const PASS = 1;

/** Out of the text of passwd(5) and group(5); undefined where there is no such user. */
export function accountIn(passwd: string, group: string, name: string): Account | undefined {
  const fields = (text: string): readonly (readonly string[])[] =>
    text.split('\n').map((line) => line.split(':'));
  const user = fields(passwd).find(([user]) => user === name);
  if (user === undefined) return undefined;
  const memberOf = fields(group).filter(([, , , members = '']) =>
    members.split(',').includes(name),
  );
  const [, , uid, gid = ''] = user;
  const gids = new Set([Number(gid), ...memberOf.map(([, , gid]) => Number(gid))]);
  const [named = gid] = fields(group).find(([, , number]) => number === gid) ?? [];
  return { name, group: named, uid: Number(uid), gids };
}

/**
 * Why the account cannot read the file: undefined where it can, or where nobody can tell, as of a file that is
 * not there. Modes alone are looked at: an access control list may allow more.
 */
export async function unreadableFor(
  account: Account,
  file: string,
  ownership: Ownership = 'group',
): Promise<string | undefined> {
  if (account.uid === 0) return undefined;
  try {
    const target = await realpath(file);
    for (let folder = dirname(target); ; folder = dirname(folder)) {
      if (await lacks(account, folder, PASS))
        return `user ${account.name} of the service may not pass ${folder} (${await modeOf(folder)})`;
      if (folder === dirname(folder)) break;
    }
    return (await lacks(account, target, READ))
      ? `user ${account.name} of the service may not read it (${await modeOf(target)}): ${remedy(account, file, ownership)}`
      : undefined;
  } catch {
    return undefined; // that it is not there is said already
  }
}

function remedy({ name, group }: Account, file: string, ownership: Ownership): string {
  switch (ownership) {
    case 'group':
      return `chgrp ${group} ${file}; chmod 0640 ${file}`;
    case 'owner':
      return `chown -h ${name}: ${file}; chmod 0600 ${file}`;
  }
}

async function lacks({ uid, gids }: Account, path: string, right: number): Promise<boolean> {
  const stats = await stat(path);
  const shift = stats.uid === uid ? 6 : gids.has(stats.gid) ? 3 : 0;
  return ((stats.mode >> shift) & right) === 0;
}

async function modeOf(path: string): Promise<string> {
  const { mode, uid, gid } = await stat(path);
  return `mode ${(mode & 0o7777).toString(8).padStart(4, '0')}, user ${uid}, group ${gid}`;
}
