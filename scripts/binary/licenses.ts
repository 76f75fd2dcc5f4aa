/** The license texts of all that is inside a shipped form, collected from the packages themselves. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { License } from '../../src/cli/licenses.ts';

/** Trousseau's own, Node's (with those of what Node contains), and each bundled package's. */
export function collectLicenses(
  packages: readonly string[],
  nodePackage: string,
): readonly License[] {
  const node = licenseOf(nodePackage);
  return [licenseOf('.'), { ...node, name: 'node' }, ...packages.map(licenseOf)];
}

/** Throws where a package says no license or has no text of it: then a person must look. */
function licenseOf(folder: string): License {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    name?: string;
    version?: string;
    license?: string;
  };
  const { name = folder, version = '', license } = manifest;
  const files = globSync(join(folder, '{LICENSE,LICENCE,COPYING,NOTICE}{,.*,-*}')).sort();
  if (license === undefined || files.length === 0)
    throw new Error(`${folder} does not say under which license it is, or has no text of it`);
  const text = files.map((file) => readFileSync(file, 'utf8').trimEnd()).join('\n\n');
  return { name, version, license, text };
}
