/** Which version of which commit is packed: everything that a package says of itself comes from here. */
import { spawnSync } from 'node:child_process';
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
  /** Why git cannot tell what is committed, where it cannot. */
  readonly gitProblem?: string;
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
  const status = git('status', '--porcelain');
  return {
    version,
    packageVersion: version.replace('-', '~'),
    commit: env['TROUSSEAU_COMMIT'] ?? git('rev-parse', 'HEAD').said ?? 'unknown',
    epoch: Number(env['SOURCE_DATE_EPOCH'] ?? git('log', '-1', '--format=%ct').said ?? 0),
    dirty: status.said !== '',
    ...(status.problem === undefined ? {} : { gitProblem: status.problem }),
  };
}

type GitAnswer = { readonly said?: string; readonly problem?: string };

/** It does not answer where this is a source archive, or a clone that it does not trust. */
function git(...args: readonly string[]): GitAnswer {
  const { error, status, stdout, stderr } = spawnSync('git', args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' }, // git translates `fatal`
  });
  if (error !== undefined) return { problem: error.message };
  if (status === 0) return { said: stdout.trim() };
  return { problem: /^fatal: (.*)$/m.exec(stderr)?.[1] ?? `git ended with ${status}` };
}
