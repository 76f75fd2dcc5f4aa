/** The RPM: what both have, and packaging/rpm/trousseau.spec, which lists every file. */
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { plain, zshEntry } from './contents.ts';
import type { Compression, Material } from './deb.ts';
import { needsOf, rpmRequires } from './libraries.ts';
import { type Entry, layOut } from './stage.ts';
import { runLong } from './tools.ts';

export type RpmArch = 'x86_64' | 'aarch64';

/** The same on every machine, and readable by RHEL 8. */
const PAYLOADS: Readonly<Record<Compression, string>> = { small: 'w6.xzdio', fast: 'w1.gzdio' };

/** Answers the file it made. */
export async function buildRpm(arch: RpmArch, material: Material): Promise<string> {
  const { binary, contents, edition, compression, scratch, out } = material;
  const top = resolve(scratch, `rpm-${arch}`);
  rmSync(top, { recursive: true, force: true });
  const stage = join(top, 'stage');
  const entries = [...contents, ...(await rpmContents(material))];
  layOut(stage, entries, edition.epoch);
  const defines: Readonly<Record<string, string>> = {
    _topdir: top,
    stage,
    upstream_version: edition.packageVersion,
    commit: edition.commit,
    changelog_date: changelogDate(edition.epoch),
    requires: rpmRequires(needsOf(binary)).join(', ') || 'systemd',
    // Nothing of the machine or of the moment.
    _buildhost: 'reproducible',
    use_source_date_epoch_as_buildtime: '1',
    clamp_mtime_to_source_date_epoch: '1',
    source_date_epoch_from_changelog: '0',
    _build_id_links: 'none',
    __os_install_post: '%{nil}',
    _binary_payload: PAYLOADS[compression],
    _binary_filedigest_algorithm: '8',
  };
  const flags = Object.entries(defines).flatMap(([name, value]) => [
    '--define',
    `${name} ${value}`,
  ]);
  mkdirSync(join(top, 'tmp'), { recursive: true });
  await runLong(
    'rpmbuild',
    ['-bb', '--quiet', '--target', `${arch}-linux`, ...flags, 'packaging/rpm/trousseau.spec'],
    { ...process.env, SOURCE_DATE_EPOCH: String(edition.epoch), TZ: 'UTC' },
  );
  const name = `trousseau-${edition.packageVersion}-1.${arch}.rpm`;
  copyFileSync(join(top, 'RPMS', arch, name), join(out, name));
  rmSync(top, { recursive: true, force: true });
  return join(out, name);
}

async function rpmContents({ selinux }: Material): Promise<readonly Entry[]> {
  const doc = '/usr/share/doc/trousseau';
  return [
    await zshEntry('/usr/share/zsh/site-functions'),
    { path: '/etc/trousseau/config.yaml', mode: 0o640, content: { from: 'packaging/config.yaml' } },
    plain('/usr/share/selinux/packages/trousseau.pp', { bytes: selinux }),
    plain(`${doc}/CHANGELOG.md`, { from: 'CHANGELOG.md' }),
    plain(`${doc}/examples/apparmor-profile`, { from: 'packaging/apparmor/trousseau' }),
    plain('/usr/share/licenses/trousseau/LICENSE', { from: 'LICENSE' }),
  ];
}

/** `Tue Nov 24 2026`, as a spec wants it. */
function changelogDate(epoch: number): string {
  const [day = '', date = '', month = '', year = ''] = new Date(epoch * 1000)
    .toUTCString()
    .split(/,? /);
  return `${day} ${month} ${date} ${year}`;
}
