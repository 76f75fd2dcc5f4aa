/** Who can sign a release, and what is never released. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT } from './executable.ts';
import { ask, buildPackages, needTools, type Packages, withKeyring } from './packages-built.ts';
import { makeRelease, NODE, VERSION, verify } from './release-scripts.ts';

needTools();

let work: string;
/** Stand-ins in packages: what is refused here is not for what is in them. */
let small: Packages;

before(() => {
  work = mkdtempSync(join(tmpdir(), 'trousseau-signing-'));
  small = buildPackages(work, VERSION);
});
after(() => rmSync(work, { recursive: true, force: true }));

test('without a key there is no release, and a sentence that says what to do', () => {
  withKeyring(['one@trousseau.invalid', 'Two <two@trousseau.invalid>'], (env) => {
    for (const [key, what] of [
      ['', /TROUSSEAU_SIGNING_KEY is not set: name/],
      ['nobody@trousseau.invalid', /no secret key nobody@/],
      // Both are meant by it.
      ['trousseau.invalid', /may mean [0-9A-F]{40}, [0-9A-F]{40}: name one by its fingerprint/],
    ] as const) {
      const { status, said } = makeRelease(small, env, key, join(work, 'none'));
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
    const { status, said } = makeRelease(small, env, 'locked@trousseau.invalid', out);
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
    const made = makeRelease(small, env, primary, out);
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
