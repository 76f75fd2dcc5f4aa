/**
 * Makes dist/release from dist/packages: signed packages, repositories for apt and dnf, SBOM,
 * provenance and checksums. `release.ts [--packages FOLDER] [--out FOLDER] [--uncommitted]`; the last
 * one is for trying out what nobody else can rebuild.
 */
import { copyFileSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { editionOf } from './packages/edition.ts';
import { missingTools } from './packages/tools.ts';
import { digestsOf, formatSums, PROVENANCE, PUBLIC_KEY, SBOM, SUMS } from './release/digests.ts';
import { signDeb, signRpm } from './release/package-files.ts';
import { provenance } from './release/provenance.ts';
import { aptRepository, dnfRepository } from './release/repositories.ts';
import { cyclonedx } from './release/sbom.ts';
import { signerFrom } from './release/sign.ts';

const { values } = parseArgs({
  options: {
    packages: { type: 'string', default: 'dist/packages' },
    out: { type: 'string', default: 'dist/release' },
    uncommitted: { type: 'boolean', default: false },
  },
});
const built = globSync(`${values.packages}/*.{deb,rpm}`).sort();
const edition = editionOf(process.env);
const missing = missingTools('release');
const signer = missing === undefined ? signerFrom(process.env) : { problem: missing };
const problem =
  ('problem' in signer ? signer.problem : undefined) ??
  (edition.dirty && !values.uncommitted
    ? `${edition.gitProblem ?? 'not everything is committed'}: nobody could rebuild what would be released`
    : undefined) ??
  (built.length === 4 ? undefined : `${values.packages} does not hold the four packages`);
if (problem !== undefined || 'problem' in signer) {
  process.stderr.write(`${problem}\n`);
  process.exit(1);
}

const out = resolve(values.out);
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const packages = built.map((file) => {
  const target = join(out, basename(file));
  copyFileSync(file, target);
  if (target.endsWith('.rpm')) signRpm(target, signer);
  else signDeb(target, signer, edition.epoch);
  signer.detached(target);
  return target;
});
const ending = (end: string): readonly string[] => packages.filter((file) => file.endsWith(end));
aptRepository(join(out, 'apt'), ending('.deb'), signer, edition.epoch);
dnfRepository(join(out, 'dnf'), ending('.rpm'), signer, edition.epoch);

signer.publicKey(join(out, PUBLIC_KEY));
writeJson(SBOM, cyclonedx(edition));
writeJson(PROVENANCE, provenance(edition, packages));
writeFileSync(join(out, SUMS), formatSums(digestsOf(out)));
signer.detached(join(out, SUMS));
process.stdout.write(`${values.out}: signed by ${signer.fingerprint}\n`);

function writeJson(name: string, content: Readonly<Record<string, unknown>>): void {
  writeFileSync(join(out, name), `${JSON.stringify(content, undefined, 2)}\n`);
  if (!('problem' in signer)) signer.detached(join(out, name));
}
