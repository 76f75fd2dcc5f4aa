/** What a check of a release finds: all that was changed since it was made. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { pathOf } from '../../scripts/packages/tools.ts';
import {
  ask,
  buildPackages,
  makeKey,
  needTools,
  type Packages,
  type Release,
  realRelease,
  withKeyring,
} from './packages-built.ts';
import { debianTree } from './packages-tree.ts';
import { KEY, NODE, VERSION, verify } from './release-scripts.ts';
import { layerAbove } from './trees.ts';

needTools();

let work: string;
let release: Release;
/** Of other contents. */
let small: Packages;

before(() => {
  work = mkdtempSync(join(tmpdir(), 'trousseau-verify-'));
  release = realRelease(VERSION);
  small = buildPackages(work, VERSION);
});
after(() => rmSync(work, { recursive: true, force: true }));

/** The release where the test may change it; nothing of it is copied but what is changed. */
function changeable(t: TestContext): string {
  const layer = layerAbove(release.folder, mkdtempSync(join(work, 'changed-')));
  t.after(() => layer[Symbol.dispose]());
  return layer.root;
}

test('a release is verified, and its packages are made again with the same bits', () => {
  const { status, said } = verify(release.folder);
  assert.equal(status, 0, said);
  assert.match(said, /signatures and checksums: good/);
  assert.equal(said.match(/the same bits, made again/g)?.length, 4);
});

test('a release of what was not committed is said to be one', (t) => {
  const folder = changeable(t);
  const file = join(folder, 'trousseau.provenance.json');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(/"allCommitted": \w+/, '"allCommitted": false'));
  const { status, out, err } = ask(NODE, ['scripts/release/verify.ts', '--release', folder]);
  assert.equal(status, 1);
  assert.match(out + err, /^not everything was committed when it was made/m);
});

test('a release by another key than the expected one is refused', () => {
  const { status, said } = verify(release.folder, '--no-rebuild', '--key', 'A'.repeat(40));
  assert.equal(status, 1);
  assert.match(said, /signed by [0-9A-F]{40}, not by A{40}/);
});

test('nothing is built for a release that is refused', (t) => {
  // make says which directory it enters where another make has started it, as make test has.
  const options = ['--dry-run', '--no-print-directory', '--assume-old=node_modules/.installed'];
  const dry = ask('make', [...options, 'verify-release']);
  assert.equal(
    dry.out.trim(),
    "node_modules/.bin/node scripts/release/verify.ts --build --release 'dist/release'",
  );
  const changed = changeable(t);
  flipByte(join(changed, basename(release.packages.file('deb'))));
  for (const [folder, why] of [
    [changed, /\.deb is not as SHA256SUMS says/],
    [work, /is it the folder of a release\?/],
  ] as const) {
    const { status, said } = verify(folder, '--build');
    assert.equal(status, 1);
    assert.match(said, why);
    assert.doesNotMatch(said, /dist\/bin|made again/);
  }
});

for (const name of [KEY, 'SHA256SUMS', 'SHA256SUMS.asc', 'trousseau.provenance.json']) {
  test(`a folder without ${name} is said to be no release, in one line`, (t) => {
    const folder = changeable(t);
    rmSync(join(folder, name));
    const { status, said } = verify(folder, '--key', 'A'.repeat(40));
    assert.equal(status, 1);
    assert.equal(said, `${folder} has no ${name}: is it the folder of a release?\n`);
  });
}

test('a second key beside the expected one is refused, whatever it signed', (t) => {
  const folder = changeable(t);
  withKeyring([], (env) => {
    execFileSync('gpg', ['--quiet', '--import', join(folder, KEY)], { env });
    makeKey('other@trousseau.invalid', env);
    writeFileSync(join(folder, KEY), execFileSync('gpg', ['--armor', '--export'], { env }));
  });
  const { status, said } = verify(folder, '--no-rebuild');
  assert.equal(status, 1);
  assert.match(said, /must hold one key/);
});

test('one changed byte, an added file and an added link are found', (t) => {
  const changed = changeable(t);
  flipByte(join(changed, basename(release.packages.file('rpm'))));
  assert.match(verify(changed, '--no-rebuild').said, /\.rpm is not as SHA256SUMS says/);
  const added = changeable(t);
  writeFileSync(join(added, 'apt/extra.deb'), 'x');
  symlinkSync('/etc/passwd', join(added, 'dnf/link'));
  const { status, said } = verify(added, '--no-rebuild');
  assert.equal(status, 1);
  assert.match(said, /^apt\/extra\.deb is not as SHA256SUMS says/m);
  assert.match(said, /^dnf\/link is not as SHA256SUMS says/m);
});

test('packages of other contents are found, whose signatures are good', () => {
  const { status, said } = verify(release.folder, '--binaries', small.binaries);
  assert.equal(status, 1);
  assert.equal(said.match(/made again, it has other bits/g)?.length, 4);
});

test('packages of other contents are found with the tools that differ from those of the release', (t) => {
  const bin = mkdtempSync(join(work, 'tools-'));
  const [path, real] = [process.env['PATH'], pathOf('dpkg-deb')];
  const other = `#!/bin/sh\n[ "$1" != --version ] || exec echo of another version\nexec ${real} "$@"\n`;
  writeFileSync(join(bin, 'dpkg-deb'), other, { mode: 0o755 });
  t.after(() => {
    process.env['PATH'] = path;
  });
  process.env['PATH'] = `${bin}:${path}`;
  const { status, said } = verify(release.folder, '--binaries', small.binaries);
  assert.equal(status, 1);
  assert.match(said, /^dpkg-deb: the release was made with "Debian .*", here is "of another/m);
  assert.equal(said.match(/ here is /g)?.length, 1);
});

test('rpm takes a signed package with the key, and refuses a changed one', (t) => {
  const machine = debianTree(t, 'rpmkey', ['passwd', 'rpm', 'systemd']);
  const file = machine.bring(join(release.folder, basename(release.packages.file('rpm'))));
  machine.run('rpmkeys', '--import', machine.bring(join(release.folder, KEY)));
  const checked = machine.run('rpmkeys', '--checksig', '--verbose', file);
  assert.equal(checked.status, 0, checked.output);
  assert.match(checked.output, /Signature, key ID [0-9a-f]+: OK/i);
  flipByte(machine.path(file));
  const refused = machine.run('rpm', '-i', '--nodeps', file);
  assert.notEqual(refused.status, 0);
  assert.match(refused.output, /BAD|does not verify|digest/i);
});

/** In the middle, which is inside what is compressed. */
function flipByte(file: string): void {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(file, bytes);
}
