/** The programs behind `make release` and `make verify-release`, however they end. */
import { join } from 'node:path';
import { ROOT } from './executable.ts';
import { ask, type Packages } from './packages-built.ts';

/** Of the releases that tests make. */
export const VERSION = '3.1.0';
/** The public key, in a release. */
export const KEY = 'trousseau-signing-key.asc';
export const NODE = join(ROOT, 'node_modules/.bin/node');

export type Ended = { readonly status: number | null; readonly said: string };

/** Checks a release that a test has made. */
export function verify(folder: string, ...more: readonly string[]): Ended {
  const args = ['scripts/release/verify.ts', '--release', folder, ...more];
  const made = ['--compression', 'fast', '--uncommitted'];
  const env = { ...process.env, TROUSSEAU_PACKAGE_VERSION: VERSION };
  const { status, out, err } = ask(NODE, [...args, ...made], env);
  return { status, said: out + err };
}

/** Makes a release of these packages, by the key that `name` is one of. */
export function makeRelease(
  packages: Packages,
  env: NodeJS.ProcessEnv,
  name: string,
  out: string,
): Ended {
  const args = ['scripts/release.ts', '--packages', packages.folder, '--out', out, '--uncommitted'];
  const ran = ask(NODE, args, {
    ...env,
    TROUSSEAU_PACKAGE_VERSION: VERSION,
    TROUSSEAU_SIGNING_KEY: name,
  });
  return { status: ran.status, said: ran.out + ran.err };
}
