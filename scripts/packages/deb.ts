/** The Debian package: what both have, and packaging/deb. */

import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzip, plain, template, zshEntry } from './contents.ts';
import type { Edition } from './edition.ts';
import { debianPackages, needsOf } from './libraries.ts';
import { type Entry, installedKiB, layOut } from './stage.ts';
import { runLong } from './tools.ts';

const SCRIPTS = ['preinst', 'postinst', 'prerm', 'postrm'] as const;
const MAINTAINER = 'The Trousseau maintainers <maintainers@trousseau.io>';

export type DebArch = 'amd64' | 'arm64';

/** One thread: with more, xz cuts its blocks by how many processors the machine has. */
const COMPRESSIONS = {
  small: ['-Zxz', '-z6', '--threads-max=1'],
  fast: ['-Zgzip', '-z1'],
} as const;

/** Small is what is shipped. */
export type Compression = keyof typeof COMPRESSIONS;

export function isCompression(name: string): name is Compression {
  return Object.hasOwn(COMPRESSIONS, name);
}

export type Material = {
  readonly binary: string;
  readonly contents: readonly Entry[];
  readonly selinux: Buffer;
  readonly edition: Edition;
  readonly compression: Compression;
  /** A folder of ours, made anew. */
  readonly scratch: string;
  readonly out: string;
};

/** Answers the file it made. */
export async function buildDeb(arch: DebArch, material: Material): Promise<string> {
  const { binary, contents, edition, compression, scratch, out } = material;
  const root = join(scratch, `deb-${arch}`);
  rmSync(root, { recursive: true, force: true });
  const entries = [...contents, ...(await debContents(material))];
  layOut(root, entries, edition.epoch);
  const version = `${edition.packageVersion}-1`;
  const depends = [
    ...debianPackages(needsOf(binary)),
    'passwd',
    'systemd | systemd-standalone-sysusers | systemd-sysusers',
  ];
  const control: Readonly<Record<string, string | Buffer>> = {
    control: template('packaging/deb/control', {
      VERSION: version,
      ARCH: arch,
      SIZE: String(installedKiB(root)),
      DEPENDS: depends.join(', '),
    }),
    conffiles: readFileSync('packaging/deb/conffiles', 'utf8'),
    md5sums: md5sums(root, entries),
    ...Object.fromEntries(SCRIPTS.map((name) => [name, readFileSync(`packaging/deb/${name}`)])),
  };
  layOutControl(join(root, 'DEBIAN'), control, edition.epoch);
  utimesSync(root, edition.epoch, edition.epoch);
  const file = join(out, `trousseau_${version}_${arch}.deb`);
  const args = ['--root-owner-group', ...COMPRESSIONS[compression], '--build', root, file];
  await runLong('dpkg-deb', args, {
    ...process.env,
    SOURCE_DATE_EPOCH: String(edition.epoch),
  });
  rmSync(root, { recursive: true, force: true });
  return file;
}

async function debContents({ selinux, edition }: Material): Promise<readonly Entry[]> {
  const doc = '/usr/share/doc/trousseau';
  return [
    await zshEntry('/usr/share/zsh/vendor-completions'),
    // These two are no conffiles: administrators edit them, and dpkg would ask what to do with a newer one.
    plain('/usr/lib/trousseau/config.yaml', { from: 'packaging/config.yaml' }),
    plain('/usr/lib/trousseau/apparmor-profile', { from: 'packaging/apparmor/trousseau' }),
    plain('/usr/lib/systemd/system/trousseau.service.d/10-apparmor.conf', {
      from: 'packaging/apparmor/10-apparmor.conf',
    }),
    plain('/usr/share/selinux/packages/trousseau.pp', { bytes: selinux }),
    plain(`${doc}/copyright`, { from: 'packaging/deb/copyright' }),
    plain(`${doc}/changelog.gz`, { bytes: gzip(readFileSync('CHANGELOG.md', 'utf8')) }),
    plain(`${doc}/changelog.Debian.gz`, { bytes: gzip(debianChangelog(edition)) }),
    plain('/usr/share/lintian/overrides/trousseau', { from: 'packaging/deb/overrides' }),
  ];
}

function debianChangelog({ packageVersion, epoch, commit }: Edition): string {
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  return `trousseau (${packageVersion}-1) stable; urgency=medium

  * Built from commit ${commit.slice(0, 12)}; what changed is in changelog.gz.

 -- ${MAINTAINER}  ${date}
`;
}

/** For `dpkg --verify`; what an administrator may change is not in it. */
function md5sums(root: string, entries: readonly Entry[]): string {
  const lines = entries
    .map(({ path }) => path)
    .filter((path) => !path.startsWith('/etc/'))
    .sort()
    .map((path) => {
      const sum = createHash('md5')
        .update(readFileSync(join(root, path)))
        .digest('hex');
      return `${sum}  ${path.slice(1)}\n`;
    });
  return lines.join('');
}

function layOutControl(
  folder: string,
  files: Readonly<Record<string, string | Buffer>>,
  epoch: number,
): void {
  mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    writeFileSync(path, content);
    chmodSync(path, SCRIPTS.some((script) => script === name) ? 0o755 : 0o644);
    utimesSync(path, epoch, epoch);
  }
  chmodSync(folder, 0o755);
  utimesSync(folder, epoch, epoch);
}
