/** What the packages hold, and that everybody who makes them gets the same bits. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { allCommands } from '../../scripts/packages/commands.ts';
import {
  BUILD_TOOLS,
  buildPackages,
  complaints,
  node,
  type Packages,
  said,
  toolsThere,
} from './packages-built.ts';

const SHARED = `
/etc/trousseau
/etc/trousseau/config.yaml
/usr/bin/trousseau
/usr/lib/systemd/system-preset/50-trousseau.preset
/usr/lib/systemd/system/trousseau.service
/usr/lib/systemd/system/trousseau.socket
/usr/lib/sysusers.d/trousseau.conf
/usr/lib/tmpfiles.d/trousseau.conf
/usr/share/bash-completion/completions/trousseau
/usr/share/doc/trousseau/examples/encryption-configuration.yaml
/usr/share/doc/trousseau/examples/vault-policy.hcl
/usr/share/fish/vendor_completions.d/trousseau.fish
/usr/share/man/man5/trousseau.yaml.5.gz
/usr/share/man/man8/trousseau-serve.8.gz
/usr/share/man/man8/trousseau.8.gz
/usr/share/selinux/packages/trousseau.pp`
  .trim()
  .split('\n');

/** A line of `dpkg-deb --contents` or `rpm -qplv`, by its path. */
type Listed = ReadonlyMap<string, { readonly mode: string; readonly owner: string }>;

let work: string;
let built: Packages;

before(() => {
  work = mkdtempSync(join(tmpdir(), 'trousseau-test-'));
});
after(() => rmSync(work, { recursive: true, force: true }));

if (toolsThere('what the packages hold', BUILD_TOOLS)) {
  before(() => {
    built = buildPackages(work, '3.1.0-rc.1');
  });

  test('both packages install the program, units, pages, completions and examples', () => {
    for (const listed of [debList(built.file('deb')), rpmList(built.file('rpm'))]) {
      for (const path of SHARED) assert.ok(listed.has(path), `${path} is missing`);
    }
    assert.ok(debList(built.file('deb')).has('/usr/share/zsh/vendor-completions/_trousseau'));
    assert.ok(rpmList(built.file('rpm')).has('/usr/share/zsh/site-functions/_trousseau'));
    assert.ok(debList(built.file('deb')).has('/etc/apparmor.d/trousseau'));
    assert.ok(rpmList(built.file('rpm')).has('/usr/share/licenses/trousseau/LICENSE'));
  });

  test('everything is of root, the configuration for the plugin to read and for nobody else', () => {
    const listed = rpmList(built.file('rpm'));
    for (const [path, { mode, owner }] of listed) {
      const private_ = path.startsWith('/etc/trousseau');
      assert.equal(owner, private_ ? 'root:trousseau' : 'root:root', path);
      const program = path === '/usr/bin/trousseau' || mode.startsWith('d');
      const file = program ? 'rwxr-xr-x' : 'rw-r--r--';
      if (!private_) assert.equal(mode.slice(1), file, path);
    }
    assert.equal(listed.get('/etc/trousseau')?.mode, 'drwxr-x---');
    assert.equal(listed.get('/etc/trousseau/config.yaml')?.mode, '-rw-r-----');
    for (const [path, { owner, mode }] of debList(built.file('deb'))) {
      assert.equal(owner, 'root/root', path); // postinst hands the configuration to the group
      if (path === '/etc/trousseau/config.yaml') assert.equal(mode, '-rw-r-----');
      if (path === '/etc/trousseau') assert.equal(mode, 'drwxr-x---');
    }
  });

  test('the package for the other architecture holds the same files', () => {
    const [debs, rpms] = [debList, rpmList].map((list, index) =>
      (['native', 'foreign'] as const).map((arch) => [
        ...list(built.file(index === 0 ? 'deb' : 'rpm', arch)).keys(),
      ]),
    );
    assert.deepEqual(debs?.[0], debs?.[1]);
    assert.deepEqual(rpms?.[0], rpms?.[1]);
  });

  test('two builds give the same bits', () => {
    const again = join(work, 'again');
    node(['scripts/build-packages.ts', '--binaries', built.binaries, '--out', again], {
      env: { ...process.env, TROUSSEAU_PACKAGE_VERSION: '3.1.0-rc.1', TZ: 'Asia/Tokyo', LANG: 'C' },
    });
    const names = readdirSync(built.folder).sort();
    assert.equal(names.length, 4);
    for (const name of names) {
      const same = readFileSync(join(again, name)).equals(readFileSync(join(built.folder, name)));
      assert.ok(same, `${name} differs`);
    }
  });

  test('each command of the program has its page, and the pages render without a warning', (t) => {
    const folder = join(work, 'pages');
    node(['scripts/generate-manpages.ts', folder]);
    const pages = readdirSync(folder).filter((name) => /\.[58]$/.test(name));
    const help = said('node_modules/.bin/node', ['src/main.ts', 'help']);
    const commands = [...help.matchAll(/^ {2}([a-z]+) {2}/gm)].map(([, name]) => name);
    assert.deepEqual(
      pages.sort(),
      ['trousseau.8', 'trousseau.yaml.5', ...commands.map((name) => `trousseau-${name}.8`)].sort(),
    );
    for (const page of pages.map((name) => join(folder, name))) {
      if (toolsThere('pages under man', ['man'])) {
        const args = ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', page];
        assert.equal(complaints('man', args), '');
      }
      if (toolsThere('pages under mandoc', ['mandoc'])) {
        assert.equal(said('mandoc', ['-T', 'lint', '-W', 'warning', page]), '');
      }
    }
    t.diagnostic(`${pages.length} pages`);
  });

  test('the completions are what each shell takes, and name every command', async () => {
    const folder = join(work, 'completions');
    node(['scripts/generate-manpages.ts', folder]);
    const files = { bash: 'trousseau.bash', zsh: '_trousseau', fish: 'trousseau.fish' };
    const commands = await allCommands();
    for (const [shell, name] of Object.entries(files)) {
      const file = join(folder, name);
      if (toolsThere(`completions under ${shell}`, [shell])) execFileSync(shell, ['-n', file]);
      const text = readFileSync(file, 'utf8');
      for (const command of commands) assert.match(text, new RegExp(`\\b${command.name}\\b`));
    }
    const asked = `. ${join(folder, files.bash)}; COMP_WORDS=(trousseau config ch); COMP_CWORD=2; _trousseau; echo "\${COMPREPLY[@]}"`;
    assert.equal(execFileSync('bash', ['-c', asked], { encoding: 'utf8' }).trim(), 'check');
  });

  test('lintian and rpmlint find nothing that is not explained', () => {
    if (toolsThere('lintian', ['lintian'])) {
      const found = said('lintian', ['--tag-display-limit', '0', built.file('deb')]);
      // What the overrides say of the real executable is not found in the stand-in.
      assert.equal(
        found
          .split('\n')
          .filter((line) => /^[EW]:/.test(line))
          .join('\n'),
        '',
      );
    }
    if (toolsThere('rpmlint', ['rpmlint'])) {
      const found = said('rpmlint', ['-c', 'packaging/rpm/overrides', built.file('rpm')]);
      const lines = found.split('\n').filter((line) => /: [EW]: /.test(line));
      assert.deepEqual(
        lines.filter((line) => !line.includes('no-binary')),
        [],
      );
    }
  });
}

function debList(file: string): Listed {
  const lines = said('dpkg-deb', ['--contents', file]).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [mode = '', owner = '', , , , path = ''] = line.split(/\s+/);
      return [path.slice(1).replace(/(.)\/$/, '$1'), { mode, owner }];
    }),
  );
}

function rpmList(file: string): Listed {
  const format = '[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\\n]';
  const lines = said('rpm', ['-qp', '--queryformat', format, file]).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [mode = '', owner = '', path = ''] = line.split(' ');
      return [path, { mode, owner }];
    }),
  );
}
