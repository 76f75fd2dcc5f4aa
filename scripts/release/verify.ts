/**
 * Checks a release: every signature and checksum, then, where these are right, makes the packages again from
 * this clone and compares. `verify.ts [--release FOLDER] [--build | --binaries FOLDER] [--key FINGERPRINT]
 * [--no-rebuild] [--compression small|fast] [--uncommitted]`: --build makes the executables first, which are
 * otherwise those of the folder; the last two are for releases that tests have made.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { editionOf } from '../packages/edition.ts';
import { missingTools, run } from '../packages/tools.ts';
import { checkSignatures, missingFile } from './check-signatures.ts';
import { PROVENANCE, sha256 } from './digests.ts';
import { inOwnTemporaryFolder } from './own-temporary-folder.ts';
import { unsignedBytes } from './package-files.ts';
import { PACKERS, type Provenance, toolVersions } from './provenance.ts';

const { values } = parseArgs({
  options: {
    release: { type: 'string', default: 'dist/release' },
    build: { type: 'boolean', default: false },
    binaries: { type: 'string', default: 'dist/bin' },
    key: { type: 'string' },
    'no-rebuild': { type: 'boolean', default: false },
    compression: { type: 'string', default: 'small' },
    uncommitted: { type: 'boolean', default: false },
  },
});

if (await inOwnTemporaryFolder()) {
  const missing = missingTools('release') ?? missingFile(values.release);
  const problems = missing === undefined ? checked() : [missing];
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}

/** A build takes minutes: nothing is built of what is refused anyway. */
function checked(): readonly string[] {
  const found = signatures();
  if (values['no-rebuild']) return found;
  const statement = JSON.parse(
    readFileSync(join(values.release, PROVENANCE), 'utf8'),
  ) as Provenance;
  const problems = [...found, ...notOfThisClone(statement)];
  return problems.length > 0 ? problems : rebuilt(statement);
}

function signatures(): readonly string[] {
  const { fingerprint, problems: found } = checkSignatures(values.release);
  const wanted = values.key?.replaceAll(' ', '').toUpperCase();
  if (wanted !== undefined && wanted !== fingerprint) {
    return [...found, `it is signed by ${fingerprint}, not by ${wanted}`];
  }
  if (found.length === 0)
    process.stdout.write(`signatures and checksums: good, by ${fingerprint}\n`);
  return found;
}

/** Why this clone cannot make the packages of the release again. */
function notOfThisClone({ predicate: { buildDefinition } }: Provenance): readonly string[] {
  const { commit } = buildDefinition.externalParameters;
  if (!buildDefinition.internalParameters.allCommitted && !values.uncommitted)
    return ['not everything was committed when it was made: nobody can make it again'];
  const here = editionOf(process.env);
  if (here.dirty && !values.uncommitted)
    return [
      `${here.gitProblem ?? 'not everything in this clone is committed'}: what it makes is of no commit`,
    ];
  return here.commit === commit
    ? []
    : [`it is of commit ${commit}, this clone is at ${here.commit}`];
}

function rebuilt({ predicate: { buildDefinition, runDetails } }: Provenance): readonly string[] {
  const { version, sourceDateEpoch } = buildDefinition.externalParameters;
  if (values.build)
    execFileSync(process.execPath, ['scripts/build-binary.ts'], { stdio: 'inherit' });
  const out = mkdtempSync(join(tmpdir(), 'trousseau-rebuild-'));
  try {
    run(
      'node_modules/.bin/node',
      [
        'scripts/build-packages.ts',
        ...['--out', out, '--binaries', values.binaries, '--compression', values.compression],
      ],
      {
        env: {
          ...process.env,
          SOURCE_DATE_EPOCH: String(sourceDateEpoch),
          TROUSSEAU_PACKAGE_VERSION: version,
        },
      },
    );
    const different = runDetails.byproducts.flatMap(({ name, digest }) => {
      const same = sha256(unsignedBytes(join(out, name))) === digest.sha256;
      if (same) process.stdout.write(`${name}: the same bits, made again\n`);
      return same ? [] : [`${name}: made again, it has other bits`];
    });
    return different.length === 0
      ? []
      : [...different, ...otherTools(buildDefinition.internalParameters.tools)];
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** Which of them are of another version than those of the release: the first thing to rule out. */
function otherTools(of: Readonly<Record<string, string>>): readonly string[] {
  const here = toolVersions();
  return Object.entries(of)
    .filter(([tool, version]) => PACKERS.includes(tool) && here[tool] !== version)
    .map(
      ([tool, version]) =>
        `${tool}: the release was made with "${version}", here is "${here[tool] ?? 'none'}", which may give other bits`,
    );
}
