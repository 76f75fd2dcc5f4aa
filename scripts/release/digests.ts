/** SHA-256 of the files of a release, in the form of `sha256sum`. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

export const SUMS = 'SHA256SUMS';
export const PUBLIC_KEY = 'trousseau-signing-key.asc';
export const PROVENANCE = 'trousseau.provenance.json';
export const SBOM = 'trousseau.cdx.json';

/** Of a symbolic link, a socket or the like. */
export const NOT_A_FILE = 'not a file';

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * By their paths in the release, sorted; the list itself and its signature are not in it. A release has
 * files and folders alone: what else lies there has a digest that no list can hold.
 */
export function digestsOf(folder: string): ReadonlyMap<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => {
      const name = relative(folder, join(entry.parentPath, entry.name));
      return { name, isFile: entry.isFile() };
    })
    .filter(({ name, isFile }) => !isFile || (name !== SUMS && name !== `${SUMS}.asc`))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return new Map(
    files.map(({ name, isFile }) => [
      name,
      isFile ? sha256(readFileSync(join(folder, name))) : NOT_A_FILE,
    ]),
  );
}

export function formatSums(digests: ReadonlyMap<string, string>): string {
  return [...digests].map(([name, digest]) => `${digest}  ${name}\n`).join('');
}

export function parseSums(text: string): ReadonlyMap<string, string> {
  const lines = [...text.matchAll(/^([0-9a-f]{64}) {2}(.+)$/gm)];
  return new Map(lines.map(([, digest = '', name = '']) => [name, digest]));
}
