/**
 * The authorities that the administrator of this machine trusts, as OpenSSL finds them and as they are now. Node
 * reads them once in the life of a process: one that is added later, as before Vault gets a certificate of it,
 * would not be trusted until a restart.
 */
import { X509Certificate } from 'node:crypto';
import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { certificatesIn } from './certificates.ts';
import { readRegular, shareRead } from './read-file.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Where Node's OpenSSL looks, unless SSL_CERT_FILE and SSL_CERT_DIR name other places. */
const FILE = '/etc/ssl/cert.pem';
const FOLDERS = '/etc/ssl/certs';
/** The bundle of a distribution has some 250 KB. */
const MOST_BYTES = 4 << 20;

/**
 * Their certificates in PEM, each once and in one order; empty where there are none. What cannot be read is
 * left out, as OpenSSL does: one file that is damaged must not take the trust in all the others.
 *
 * @throws where the file system does not answer in time
 */
export function readMachineAuthorities(env: Environment): Promise<string> {
  const file = env['SSL_CERT_FILE'] ?? FILE;
  const folders = env['SSL_CERT_DIR'] ?? FOLDERS;
  return shareRead('authorities in', `${file} and ${folders}`, async () => {
    const found = new Set<string>();
    for (const path of [file, ...(await filesIn(folders.split(':')))]) {
      const text = await readRegular(path, MOST_BYTES).then(String, () => '');
      for (const certificate of certificatesIn(text)) found.add(certificate);
    }
    return [...found].filter(canBeRead).sort().join('\n');
  });
}

async function filesIn(folders: readonly string[]): Promise<readonly string[]> {
  const all: string[] = [];
  for (const folder of folders) {
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
      const path = join(folder, entry.name);
      if (!entry.isSymbolicLink() || !(await leadsToNeighbour(path))) all.push(path);
    }
  }
  return all;
}

/** For each certificate a folder of OpenSSL has a link of another name, which leads to it: half of all reads. */
function leadsToNeighbour(link: string): Promise<boolean> {
  return readlink(link).then(
    (target) => !target.includes('/'),
    () => false,
  );
}

function canBeRead(certificate: string): boolean {
  try {
    new X509Certificate(certificate);
    return true;
  } catch {
    return false; // the parser's words name no reason
  }
}
