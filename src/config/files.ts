/** Whether the files and the group that a configuration names are there. Secrets are not read. */
import { lstat, stat } from 'node:fs/promises';
import { certificateProblem, readCertificates, validityOf } from '../system/certificates.ts';
import { reasonOf } from '../system/files.ts';
import type { ResolvedConfig, ResolvedProvider } from './environment.ts';
import { readText } from './load.ts';
import type { FieldPath } from './problem.ts';
import type { Finding } from './relations.ts';
import { type Account, accountIn, unreadableFor } from './service-user.ts';

const GROUPS = '/etc/group';
const USERS = '/etc/passwd';

/** The account of that name on this machine; name services are not asked. */
export async function accountOf(name: string): Promise<Account | undefined> {
  const [users, groups] = [await readText(USERS), await readText(GROUPS)];
  return typeof users === 'string' && typeof groups === 'string'
    ? accountIn(users, groups, name)
    : undefined;
}

/**
 * What is not there on this machine: an error where nothing works without it, or else a warning. Of `account`,
 * which will run the service, also what it cannot read.
 *
 * @param now in milliseconds since the epoch, for the dates of certificates
 */
export async function checkFiles(
  config: ResolvedConfig,
  account?: Account,
  now: number = Date.now(),
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const { group } = config.listen;
  if (group !== undefined && !(await groupExists(group)))
    findings.push(error(['listen', 'group'], `is not in ${GROUPS}: create it first`));
  for (const [i, provider] of config.providers.entries()) {
    const { authority, secrets } = filesOf(provider);
    const at = ['providers', i];
    const warn = ({ path }: NamedFile, message: string): void => {
      findings.push({ path: [...at, ...path], severity: 'warning', message });
    };
    if (authority !== undefined) {
      const found = await authorityFinding(authority.file, now);
      if (found !== undefined) findings.push({ ...found, path: [...at, ...authority.path] });
    }
    for (const named of secrets) {
      const problem = isKeyring(named)
        ? await keyringProblem(named.file, account)
        : await secretProblem(named.file);
      if (problem !== undefined) warn(named, problem);
      const expiry = isCertificate(named, secrets) ? await expiryOf(named.file, now) : undefined;
      if (expiry !== undefined) warn(named, expiry);
    }
    if (account === undefined) continue;
    for (const named of authority === undefined ? secrets : [authority, ...secrets]) {
      const ownership = isKeyring(named) ? 'owner' : 'group';
      const why = await unreadableFor(account, named.file, ownership);
      if (why !== undefined) warn(named, `${named.file}: ${why}`);
    }
  }
  return findings;
}

type NamedFile = { readonly path: FieldPath; readonly file: string };

function filesOf(provider: ResolvedProvider): {
  readonly authority: NamedFile | undefined;
  readonly secrets: readonly NamedFile[];
} {
  const kind = 'vault' in provider ? 'vault' : 'local';
  const named = namedFiles('vault' in provider ? provider.vault : provider.local, [kind]);
  const authority = named.find(({ path }) => path.at(-1) === 'caFile');
  return { authority, secrets: named.filter((one) => one !== authority) };
}

function isKeyring({ path }: NamedFile): boolean {
  return path.at(-1) === 'keyringFile';
}

/** A certificate of this plugin's own, without the key, which is a secret. */
function isCertificate({ path, file }: NamedFile, secrets: readonly NamedFile[]): boolean {
  return path.at(-1) === 'certFile' && secrets.filter((one) => one.file === file).length === 1;
}

/** Every field whose name ends so holds a path, or a systemd credential, which only the unit has. */
function namedFiles(settings: object, at: FieldPath): readonly NamedFile[] {
  return Object.entries(settings).flatMap(
    ([field, value]: [string, unknown]): readonly NamedFile[] => {
      const path = [...at, field];
      if (typeof value === 'object' && value !== null && !Array.isArray(value))
        return namedFiles(value, path);
      const isFile = field.endsWith('File') && typeof value === 'string' && value.startsWith('/');
      return isFile ? [{ path, file: value }] : [];
    },
  );
}

/** An error where no server can be verified with the file. */
async function authorityFinding(
  file: string,
  now: number,
): Promise<Omit<Finding, 'path'> | undefined> {
  try {
    const pem = await readCertificates(file);
    const problem = certificateProblem(pem);
    if (problem !== undefined) return { severity: 'error', message: `${file}: ${problem}` };
    const { valid, why } = validityOf(pem, now);
    if (why === undefined) return undefined;
    return valid === 0
      ? { severity: 'error', message: `${file}: it holds no certificate that is valid now: ${why}` }
      : { severity: 'warning', message: `${file}: ${why}` };
  } catch (cause) {
    return { severity: 'error', message: `${file}: ${reasonOf(cause)}` };
  }
}

/** What Vault would not take of a client certificate, as far as this user may read it. */
async function expiryOf(file: string, now: number): Promise<string | undefined> {
  let pem: string;
  try {
    pem = await readCertificates(file);
  } catch {
    return undefined; // that it is not there is said already
  }
  const why = certificateProblem(pem) ?? validityOf(pem, now).why;
  return why === undefined ? undefined : `${file}: ${why}`;
}

async function secretProblem(file: string): Promise<string | undefined> {
  try {
    const stats = await stat(file);
    if (!stats.isFile()) return `${file}: it is not a regular file`;
    return (stats.mode & 0o007) === 0
      ? undefined
      : `${file}: everybody on this machine can read or write it: if the secret is in it, chmod o= ${file}`;
  } catch (cause) {
    return statProblem(file, cause);
  }
}

/** What the local provider refuses of a keyring's file before it reads it. */
async function keyringProblem(
  file: string,
  account: Account | undefined,
): Promise<string | undefined> {
  try {
    const stats = await lstat(file);
    if (stats.isSymbolicLink()) return `${file}: it is a symbolic link: name the file itself`;
    if (!stats.isFile()) return `${file}: it is not a regular file`;
    if ((stats.mode & 0o077) !== 0)
      return `${file}: others than its owner may read or change it, which the plugin refuses: if it is the keyring, chmod 0600 ${file}`;
    return account === undefined || stats.uid === 0 || stats.uid === account.uid
      ? undefined
      : `${file}: it belongs to the user with id ${stats.uid}, which the plugin refuses: chown -h ${account.name}: ${file}`;
  } catch (cause) {
    return statProblem(file, cause);
  }
}

function statProblem(file: string, cause: unknown): string | undefined {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'EACCES') return undefined; // another user's, as it may well be
  return code === 'ENOENT' ? `${file}: it does not exist` : `${file}: it cannot be read: ${code}`;
}

async function groupExists(group: string): Promise<boolean> {
  if (/^\d+$/.test(group)) return true;
  const groups = await readText(GROUPS);
  return (
    typeof groups !== 'string' || groups.split('\n').some((line) => line.startsWith(`${group}:`))
  );
}

function error(path: FieldPath, message: string): Finding {
  return { path, message, severity: 'error' };
}
