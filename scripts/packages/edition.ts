/** Which version of which commit is packed: everything that a package says of itself comes from here. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export type Edition = {
  /** Semver, from package.json. */
  readonly version: string;
  /** As dpkg and rpm order it: a tilde sorts before the release that follows. */
  readonly packageVersion: string;
  readonly commit: string;
  /** Of the commit, in seconds; every time stamp in a package. */
  readonly epoch: number;
  /** Something is not committed, or nobody can tell: such packages cannot be rebuilt by others. */
  readonly dirty: boolean;
};

/**
 * SOURCE_DATE_EPOCH wins over the commit's date; TROUSSEAU_PACKAGE_VERSION is for tests of upgrades.
 * TROUSSEAU_COMMIT is for whoever builds from a source archive, as in the executable.
 */
export function editionOf(env: Readonly<Record<string, string | undefined>>): Edition {
  const { version: fromManifest } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    version: string;
  };
  const version = env['TROUSSEAU_PACKAGE_VERSION'] ?? fromManifest;
  return {
    version,
    packageVersion: version.replace('-', '~'),
    commit: env['TROUSSEAU_COMMIT'] ?? git('rev-parse', 'HEAD') ?? 'unknown',
    epoch: Number(env['SOURCE_DATE_EPOCH'] ?? git('log', '-1', '--format=%ct') ?? 0),
    dirty: git('status', '--porcelain') !== '',
  };
}

/** Nothing where this is not a clone: built from a source archive. */
function git(...args: readonly string[]): string | undefined {
  try {
    return execFileSync('git', args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}
