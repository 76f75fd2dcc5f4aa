/** Whether all of a release was signed by the one key that lies in it, and nothing was added or changed. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../packages/tools.ts';
import { digestsOf, NOT_A_FILE, PROVENANCE, PUBLIC_KEY, parseSums, SUMS } from './digests.ts';
import { debSignature } from './package-files.ts';

export type Checked = {
  /** To be compared with one that was got another way: the key lies beside what it signed. */
  readonly fingerprint: string;
  readonly problems: readonly string[];
};

/** The first of the files without which a folder is no release, as a sentence; undefined where all are there. */
export function missingFile(folder: string): string | undefined {
  const name = [PUBLIC_KEY, SUMS, `${SUMS}.asc`, PROVENANCE].find(
    (file) => !existsSync(join(folder, file)),
  );
  return name === undefined
    ? undefined
    : `${folder} has no ${name}: is it the folder of a release?`;
}

/** With keyrings of its own: what else this machine trusts does not count. */
export function checkSignatures(folder: string): Checked {
  const home = mkdtempSync(join(tmpdir(), 'trousseau-verify-'));
  try {
    const key = join(folder, PUBLIC_KEY);
    const gpg = ['--homedir', home, '--batch', '--quiet'];
    run('gpg', [...gpg, '--import', key]);
    const listed = run('gpg', [...gpg, '--with-colons', '--list-keys']);
    const fingerprint = /^fpr:+([0-9A-F]+):/m.exec(listed)?.[1] ?? '';
    // With two, the one that is compared need not be the one that signed.
    if (listed.match(/^pub:/gm)?.length !== 1) {
      return { fingerprint, problems: [`${PUBLIC_KEY} must hold one key`] };
    }
    const verify = (signature: string, ...over: readonly string[]): string | undefined =>
      attempt(signature, () => run('gpg', [...gpg, '--verify', signature, ...over]));

    const problems = [
      verify(join(folder, `${SUMS}.asc`), join(folder, SUMS)),
      ...differences(folder),
      ...[...digestsOf(folder)].flatMap(([name, digest]) => {
        if (digest === NOT_A_FILE) return []; // said already

        const file = join(folder, name);
        if (name.endsWith('.asc') && name !== PUBLIC_KEY) {
          return [verify(file, file.slice(0, -'.asc'.length))];
        }
        if (name.endsWith('/Release.gpg')) return [verify(file, file.slice(0, -'.gpg'.length))];
        if (name.endsWith('/InRelease')) return [verify(file)];
        if (name.endsWith('.rpm')) return [attempt(file, () => checkRpm(file, key, home))];
        if (name.endsWith('.deb')) {
          return [attempt(file, () => checkDeb(file, home, (...args) => verify(...args)))];
        }
        return [];
      }),
    ];
    return { fingerprint, problems: problems.filter((problem) => problem !== undefined) };
  } finally {
    // Its agent ends by itself when its folder is gone.
    rmSync(home, { recursive: true, force: true });
  }
}

function differences(folder: string): readonly string[] {
  const listed = parseSums(readFileSync(join(folder, SUMS), 'utf8'));
  const found = digestsOf(folder);
  return [...new Set([...listed.keys(), ...found.keys()])]
    .filter((name) => listed.get(name) !== found.get(name))
    .map((name) => `${name} is not as ${SUMS} says`);
}

/** Signed, and by this key: a package without a signature has good digests too. */
function checkRpm(file: string, key: string, home: string): void {
  const database = ['--dbpath', join(home, 'rpm')];
  run('rpmkeys', [...database, '--import', key]);
  const said = run('rpmkeys', [...database, '--checksig', '--verbose', file]);
  if (!/Signature, key ID [0-9a-f]+: OK/i.test(said)) throw new Error('no good signature');
}

function checkDeb(
  file: string,
  home: string,
  verify: (signature: string, over: string) => string | undefined,
): void {
  const signed = debSignature(file);
  if (signed === undefined) throw new Error('no signature');
  const [signature, over] = [join(home, 'signature'), join(home, 'members')];
  writeFileSync(signature, signed.signature);
  writeFileSync(over, signed.over);
  const problem = verify(signature, over);
  if (problem !== undefined) throw new Error(problem);
}

function attempt(what: string, act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return `${what}: ${(stderr ?? message).trim().split('\n').at(-1)}`;
  }
}
