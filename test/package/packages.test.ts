/** What the packages hold, and that everybody who makes them gets the same bits. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { allCommands } from '../../scripts/packages/commands.ts';
import { needsOf, parseNeeds, rpmRequires } from '../../scripts/packages/libraries.ts';
import { HANDOVER_FILE } from '../../src/cli/handover.ts';
import { relativeLinksOf } from '../unit/docs/markdown.ts';
import { executable, ROOT } from './executable.ts';
import { ask, needTools, node, type Packages, realPackages, said } from './packages-built.ts';

const SHARED = `
/etc/needrestart/conf.d/trousseau.conf
/usr/bin/trousseau
/usr/lib/trousseau/restart
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

const DOC = '/usr/share/doc/trousseau/';
/** Whatever looks like a file that a package of ours installs, or like a document of this checkout. */
const NAMED_PATH =
  /(?<![\w/.*-])(?:\/usr\/(?:bin|lib|share)\/[\w./@-]*trousseau[\w./-]*|(?:\.\.?\/)*docs\/[\w./-]+|(?:CHANGELOG|README)\.md)/g;
/** By postinst, by apparmor.service, or by an administrator; what is shipped in one format alone. */
const MADE_LATER =
  /^\/usr\/lib\/trousseau\/(?:config\.yaml|apparmor-profile)$|^\/usr\/lib\/trousseau\/?$/;

/** A line of `dpkg-deb --contents` or `rpm -qplv`, by its path. */
type Listed = ReadonlyMap<string, { readonly mode: string; readonly owner: string }>;

needTools();

const VERSION = '3.1.0-rc.1';
const PACKAGE_COUNT = 4;

let work: string;
let built: Packages;

before(() => {
  work = mkdtempSync(join(tmpdir(), 'trousseau-test-'));
  built = realPackages(VERSION);
});
after(() => rmSync(work, { recursive: true, force: true }));

test('both packages install the program, units, pages, completions and examples', () => {
  for (const listed of [debList(built.file('deb')), rpmList(built.file('rpm'))]) {
    for (const path of SHARED) assert.ok(listed.has(path), `${path} is missing`);
  }
  assert.ok(debList(built.file('deb')).has('/usr/share/zsh/vendor-completions/_trousseau'));
  assert.ok(rpmList(built.file('rpm')).has('/usr/share/zsh/site-functions/_trousseau'));
  assert.ok(debList(built.file('deb')).has('/usr/lib/trousseau/apparmor-profile'));
  assert.ok(rpmList(built.file('rpm')).has('/usr/share/licenses/trousseau/LICENSE'));
  assert.ok(rpmList(built.file('rpm')).has('/etc/trousseau/config.yaml'));
});

test('everything is of root, the configuration for the plugin to read and for nobody else', () => {
  const listed = rpmList(built.file('rpm'));
  for (const [path, { mode, owner }] of listed) {
    const private_ = path.startsWith('/etc/trousseau');
    assert.equal(owner, private_ ? 'root:trousseau' : 'root:root', path);
    const programs = ['/usr/bin/trousseau', '/usr/lib/trousseau/restart'];
    const program = programs.includes(path) || mode.startsWith('d');
    const file = program ? 'rwxr-xr-x' : 'rw-r--r--';
    if (!private_) assert.equal(mode.slice(1), file, path);
  }
  assert.equal(listed.get('/etc/trousseau')?.mode, 'drwxr-x---');
  assert.equal(listed.get('/etc/trousseau/config.yaml')?.mode, '-rw-r-----');
  for (const [path, { owner }] of debList(built.file('deb')))
    assert.equal(owner, 'root/root', path);
});

test('dpkg has nothing to ask about: what everybody edits is no conffile', () => {
  const conffiles = said('dpkg-deb', ['--info', built.file('deb'), 'conffiles'])
    .trim()
    .split('\n');
  const inEtc = [...debList(built.file('deb'))]
    .filter(([path, { mode }]) => path.startsWith('/etc/') && !mode.startsWith('d'))
    .map(([path]) => path);
  assert.deepEqual(conffiles, ['/etc/needrestart/conf.d/trousseau.conf']);
  assert.deepEqual(inEtc.sort(), conffiles);
});

test('a purge takes along what the program keeps for the process that follows', () => {
  const script = readFileSync(join(ROOT, 'packaging/deb/postrm'), 'utf8');
  for (const folder of ['/var/lib/trousseau', '/run/trousseau'])
    assert.ok(script.includes(` ${folder}/${HANDOVER_FILE} `), folder);
});

test('needrestart, which reads Perl, is told to leave the service alone', () => {
  const file = join(ROOT, 'packaging/needrestart.conf');
  const units = [
    ...['trousseau.service', 'trousseau2.service', 'trousseau-b.service'],
    ...['trousseau.socket', 'other-trousseau.service'],
  ];
  const script = `our %nrconf; do $ARGV[0]; die $@ if $@; shift;
for my $unit (@ARGV) { print join(',', map { $nrconf{override_rc}{$_} } grep { $unit =~ /$_/ } keys %{$nrconf{override_rc}}), ';' }`;
  assert.equal(said('perl', ['-we', script, file, ...units]), '0;0;0;;;');
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
  const args = ['--binaries', built.binaries, '--out', again, '--compression', 'fast'];
  node(['scripts/build-packages.ts', ...args], {
    env: { ...process.env, TROUSSEAU_PACKAGE_VERSION: VERSION, TZ: 'Asia/Tokyo', LANG: 'C' },
  });
  const names = readdirSync(built.folder).sort();
  assert.equal(names.length, PACKAGE_COUNT);
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
    const args = ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', page];
    // A locale that this machine was not given would be complained of.
    const { status, err } = ask('man', args, { ...process.env, LC_ALL: 'C.UTF-8' });
    assert.deepEqual({ status, err }, { status: 0, err: '' });
    assert.equal(said('mandoc', ['-T', 'lint', '-W', 'warning', page]), '');
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
    execFileSync(shell, ['-n', file]);
    const text = readFileSync(file, 'utf8');
    for (const command of commands) assert.match(text, new RegExp(`\\b${command.name}\\b`));
  }
  const asked = `. ${join(folder, files.bash)}; COMP_WORDS=(trousseau config ch); COMP_CWORD=2; _trousseau; echo "\${COMPREPLY[@]}"`;
  assert.equal(execFileSync('bash', ['-c', asked], { encoding: 'utf8' }).trim(), 'check');
});

test('the RPM asks for libraries by the names that Fedora, RHEL and SUSE share', () => {
  const asked = said('rpm', ['-qp', '--requires', built.file('rpm')])
    .trim()
    .split('\n');
  for (const name of [
    'libc.so.6()(64bit)',
    'libc.so.6(GLIBC_2.28)(64bit)',
    'libgcc_s.so.1()(64bit)',
    'libstdc++.so.6()(64bit)',
    '/usr/sbin/useradd',
    'systemd',
  ])
    assert.ok(asked.includes(name), name);
  // Names of packages, which each distribution chooses for itself.
  assert.deepEqual(
    asked.filter((name) => /^(glibc|libstdc\+\+|libgcc|shadow)\b(?!.*\.so)/.test(name)),
    [],
  );
  // Those that rpm's own look into the executable finds, or older ones of the same kind.
  const found = said('/usr/lib/rpm/elfdeps', ['--requires', executable('x64')])
    .trim()
    .split('\n');
  for (const name of rpmRequires(needsOf(executable('x64')))) assert.ok(found.includes(name), name);
});

test('of the versions of a library the newest is asked for', () => {
  const text = ` 0x1 (NEEDED)  Shared library: [libc.so.6]
Version needs section '.gnu.version_r' contains 1 entry:
  000000: Version: 1  File: libc.so.6  Cnt: 3
  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 4
  0x0020:   Name: GLIBC_2.28  Flags: none  Version: 3
  0x0030:   Name: GLIBC_2.3.4  Flags: none  Version: 2
`;
  assert.deepEqual(rpmRequires(parseNeeds(text)), [
    'libc.so.6()(64bit)',
    'libc.so.6(GLIBC_2.28)(64bit)',
  ]);
});

test('what messages, units, scripts and man pages name is on the node where they are read', () => {
  const root = join(work, 'unpacked');
  execFileSync('dpkg-deb', ['--raw-extract', built.file('deb'), root]);
  const installed = globSync('{DEBIAN,etc,usr}/**', { cwd: root })
    .filter((name) => statSync(join(root, name)).isFile() && !/^usr\/bin\//.test(name))
    // Documents link to each other, which another test follows.
    .filter((name) => !/\/doc\/.*\.(md|svg|json)$/.test(name) && !/changelog.*gz$/.test(name));
  const texts = [
    ...installed.map((name) => ({ name, text: textOf(join(root, name)) })),
    { name: 'the scripts of the RPM', text: said('rpm', ['-qp', '--scripts', built.file('rpm')]) },
    ...globSync('src/**/*.ts', { cwd: ROOT }).map((name) => ({
      name,
      text: readFileSync(join(ROOT, name), 'utf8').replace(
        /^\s*(\/\*\*|\*|\/\/).*$|\s\/\/ .*$/gm,
        '',
      ),
    })),
  ];
  for (const listed of [debList(built.file('deb')), rpmList(built.file('rpm'))]) {
    const named = texts.flatMap(({ name, text }) =>
      [...text.matchAll(NAMED_PATH)].map(([path]) => ({ name, path: path.replace(/[.,:]+$/, '') })),
    );
    assert.ok(named.length > 20, `${named.length} paths are named`);
    const missing = named.filter(({ path }) => !listed.has(path) && !MADE_LATER.test(path));
    assert.deepEqual(missing, []);
  }
});

test('the documents of a package link only to each other', () => {
  const listed = debList(built.file('deb'));
  const documents = [...listed.keys()].filter((path) => /\/doc\/.*\.md$/.test(path));
  assert.ok(documents.length > 30, `${documents.length} documents`);
  for (const path of documents) {
    const text = readFileSync(join(ROOT, path.slice(DOC.length)), 'utf8');
    for (const link of relativeLinksOf(text)) {
      const [file = ''] = link.split('#');
      const target = file === '' ? path : join(dirname(path), file);
      assert.ok(listed.has(target) || listed.has(`${target}/`), `${path}: ${link}`);
    }
  }
});

test('neither unit gives up after some starts, of which a failure of one would be one of the other', () => {
  for (const unit of ['trousseau.socket', 'trousseau.service']) {
    const text = readFileSync(join(ROOT, 'systemd', unit), 'utf8');
    assert.match(
      text.split(/^\[(?:Service|Socket)\]$/m)[0] ?? '',
      /^StartLimitIntervalSec=0$/m,
      unit,
    );
  }
});

test('both units start before whatever may start kube-apiserver', () => {
  for (const unit of ['trousseau.socket', 'trousseau.service']) {
    const text = readFileSync(join(ROOT, 'systemd', unit), 'utf8');
    const before = /^Before=(.*)$/m.exec(text)?.[1]?.split(' ');
    assert.deepEqual(
      before,
      ['kubelet', 'k3s', 'k3s-agent', 'rke2-server', 'rke2-agent'].map((name) => `${name}.service`),
    );
  }
});

/** Of a file as it is installed: the pages are compressed, and have their dashes escaped. */
function textOf(file: string): string {
  const bytes = readFileSync(file);
  return file.endsWith('.gz') ? gunzipSync(bytes).toString().replaceAll('\\-', '-') : String(bytes);
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
