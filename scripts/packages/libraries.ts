/** Which shared libraries an executable asks for, and what brings them on Debian and on RHEL. */

import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';

type Bringer = { readonly deb: string; readonly rpm: string };

/** By hand, so that a library that is new in the executable fails the build instead of an installation. */
const BRINGERS: Readonly<Record<string, Bringer | undefined>> = {
  'libc.so.6': { deb: 'libc6 (>= 2.28)', rpm: 'glibc >= 2.28' },
  'libstdc++.so.6': { deb: 'libstdc++6 (>= 8)', rpm: 'libstdc++ >= 8' },
  'libgcc_s.so.1': { deb: 'libgcc-s1 | libgcc1', rpm: 'libgcc' },
};
/** Parts of glibc, and the kernel's loader. */
const WITH_LIBC = /^(libdl|libm|libpthread|librt)\.so|^ld-linux/;

/** Sorted; none for what is no ELF file, as a stand-in of the tests. */
export function librariesOf(binary: string): readonly Bringer[] {
  if (!isElf(binary)) return [];
  const dynamic = execFileSync('readelf', ['--dynamic', '--wide', binary], { encoding: 'utf8' });
  const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name ?? '');
  return needed
    .filter((name) => !WITH_LIBC.test(name))
    .sort()
    .map((name) => {
      const bringer = BRINGERS[name];
      if (bringer === undefined) {
        throw new Error(`${binary} needs ${name}: say in libraries.ts which packages bring it`);
      }
      return bringer;
    });
}

function isElf(path: string): boolean {
  const file = openSync(path, 'r');
  try {
    const magic = Buffer.alloc(4);
    readSync(file, magic);
    return magic.toString('latin1') === '\x7fELF';
  } finally {
    closeSync(file);
  }
}
