/**
 * The packages that `make packages` leaves for people, compressed as the other tests' are not: small
 * enough, without a fault that lintian or rpmlint knows, and they install.
 */
import assert from 'node:assert/strict';
import { globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256 } from './another-build.ts';
import { executable, ROOT } from './executable.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import { ask, needTools } from './packages-built.ts';
import { debianTree, type Ran } from './packages-tree.ts';
import { baseTree } from './trees.ts';

const LARGEST_BYTES = 30_000_000;
const PACKAGE_COUNT = 4;
const TREE = ['passwd', 'rpm', 'systemd'];

/** The tree has libraries for its own processor, and those by Debian's names. */
const KINDS = [
  { what: 'Debian package', name: '*_amd64.deb', arch: 'x64', install: ['dpkg', '--install'] },
  {
    what: 'Debian package',
    name: '*_arm64.deb',
    arch: 'arm64',
    install: ['dpkg', '--force-architecture', '--force-depends', '--install'],
  },
  { what: 'RPM', name: '*.x86_64.rpm', arch: 'x64', install: ['rpm', '-i', '--nodeps'] },
  {
    what: 'RPM',
    name: '*.aarch64.rpm',
    arch: 'arm64',
    install: ['rpm', '-i', '--nodeps', '--ignorearch'],
  },
] as const;
const VERIFY = { dpkg: ['--verify', 'trousseau'], rpm: ['-V', '--nodeps', 'trousseau'] } as const;

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needTools();
  baseTree({ suite: 'trixie', packages: TREE });
}

function declare(): void {
  test('they are small enough, all four of them', () => {
    const files = shipped('*');
    assert.equal(files.length, PACKAGE_COUNT);
    for (const file of files) {
      const { size } = statSync(file);
      assert.ok(size > 0 && size <= LARGEST_BYTES, `${file}: ${size} bytes`);
    }
  });

  test('lintian and rpmlint find nothing in them that is not explained', () => {
    const args = ['--allow-root', '--fail-on', 'none', '--show-overrides'];
    const linted = ask('lintian', [...args, '--tag-display-limit', '0', ...shipped('*.deb')]);
    // Of itself it fails for what is explained too, once that is shown.
    assert.equal(linted.status, 0, linted.out + linted.err);
    assert.deepEqual(
      linted.out.split('\n').filter((line) => /^[EW]:/.test(line)),
      [],
    );
    // That it has looked: what is explained is found.
    assert.match(linted.out, /^O: trousseau: hardening-no-pie /m);
    const { status, out, err } = ask('rpmlint', [
      '-c',
      'packaging/rpm/overrides',
      ...shipped('*.rpm'),
    ]);
    assert.equal(status, 0, out + err);
    assert.match(out, /2 packages and 0 specfiles checked; 0 errors, 0 warnings/);
  });

  for (const { what, name, arch, install } of KINDS) {
    test(`the ${what} for ${arch} installs whole, with the executable that was built`, (t) => {
      const [file] = shipped(name);
      assert.ok(file !== undefined, 'run make packages');
      const tree = debianTree(t, 'shipped', TREE);
      const [tool, ...args] = install;
      good(tree.run(tool, ...args, tree.bring(file)));
      assert.equal(good(tree.run(tool, ...VERIFY[tool])), '');
      assert.equal(sha256(tree.path('/usr/bin/trousseau')), sha256(executable(arch)));
      if (arch === process.arch)
        assert.match(good(tree.run('trousseau', 'version')), /^trousseau \d/);
    });
  }
}

function good({ status, output }: Ran): string {
  assert.equal(status, 0, output);
  return output;
}

/** Of dist/packages, as they are shipped. */
function shipped(pattern: string): readonly string[] {
  const names = pattern === '*' ? '*.{deb,rpm}' : pattern;
  return globSync(join(ROOT, 'dist/packages', names)).sort();
}
