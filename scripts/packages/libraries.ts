/** Which shared libraries an executable asks for, as Debian's and as RPM's packages name them. */

import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';

/** By hand, so that a library that is new in the executable fails the build instead of an installation. */
const DEBIAN: Readonly<Record<string, string | undefined>> = {
  'libc.so.6': 'libc6 (>= 2.28)',
  'libstdc++.so.6': 'libstdc++6 (>= 8)',
  'libgcc_s.so.1': 'libgcc-s1 | libgcc1',
};
/** The newest glibc that may be asked for: that of RHEL 8 and Debian 10. */
const NEWEST_GLIBC = '2.28';
/** Parts of glibc, and the kernel's loader: with libc6 in Debian. */
const WITH_LIBC = /^(libdl|libm|libpthread|librt)\.so|^ld-linux/;

export type Needs = {
  /** The libraries by name, sorted. */
  readonly libraries: readonly string[];
  /** By library, the newest of each kind of symbol version that is asked for. */
  readonly versions: ReadonlyMap<string, readonly string[]>;
};

const NOTHING: Needs = { libraries: [], versions: new Map() };

/** Nothing for what is no ELF file, as a stand-in of the tests. */
export function needsOf(binary: string): Needs {
  if (!isElf(binary)) return NOTHING;
  return parseNeeds(
    execFileSync('readelf', ['--dynamic', '--version-info', '--wide', binary], {
      encoding: 'utf8',
    }),
  );
}

/** Of what `readelf --dynamic --version-info --wide` prints. */
export function parseNeeds(text: string): Needs {
  const libraries = [...text.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name = '']) => name);
  const [, needs = ''] = text.split(/^Version needs section.*$/m);
  const versions = needs
    .split(/\bFile: /)
    .slice(1)
    .map((part) => {
      const [file = ''] = part.split(/\s/, 1);
      return [
        file,
        newest([...part.matchAll(/\bName: (\S+)/g)].map(([, name = '']) => name)),
      ] as const;
    });
  return { libraries: libraries.sort(), versions: new Map(versions) };
}

/** Debian's packages, for Depends. */
export function debianPackages({ libraries, versions }: Needs): readonly string[] {
  const glibc = [...versions.values()].flat().filter((name) => name.startsWith('GLIBC_'));
  const tooNew = glibc.find((name) => byVersion(name, `GLIBC_${NEWEST_GLIBC}`) > 0);
  if (tooNew !== undefined)
    throw new Error(`it needs ${tooNew}: Debian 10 and RHEL 8 have ${NEWEST_GLIBC}`);
  return libraries
    .filter((name) => !WITH_LIBC.test(name))
    .map((name) => {
      const bringer = DEBIAN[name];
      if (bringer === undefined)
        throw new Error(
          `it needs ${name}: say in libraries.ts which of Debian's packages bring it`,
        );
      return bringer;
    });
}

/** The names that every RPM distribution's libraries provide, whatever their packages are called. */
export function rpmRequires({ libraries, versions }: Needs): readonly string[] {
  return libraries.flatMap((library) =>
    ['', ...(versions.get(library) ?? [])].map((version) => `${library}(${version})(64bit)`),
  );
}

/** The highest of each kind: a library that has it has the older ones too. */
function newest(names: readonly string[]): readonly string[] {
  const kinds = Map.groupBy(names, (name) => name.replace(/_[^_]*$/, ''));
  return [...kinds.values()].map((same) => same.sort(byVersion).at(-1) ?? '').sort();
}

function byVersion(a: string, b: string): number {
  const [as = [], bs = []] = [a, b].map((name) => name.replace(/^.*_/, '').split('.').map(Number));
  const differs = as.findIndex((part, i) => part !== (bs[i] ?? 0));
  return differs === -1 ? as.length - bs.length : (as[differs] ?? 0) - (bs[differs] ?? 0);
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
