/** The folders that apt and dnf install from, without a server: `file:` and `baseurl=file:` do. */
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gzip } from '../packages/contents.ts';
import { run } from '../packages/tools.ts';
import type { Signer } from './sign.ts';

const SUITE = 'stable';
const DEB_ARCHITECTURES = ['amd64', 'arm64'] as const;

/** pool/ and dists/, as Debian's own mirrors are. */
export function aptRepository(
  root: string,
  packages: readonly string[],
  signer: Signer,
  epoch: number,
): void {
  const pool = 'pool/main/t/trousseau';
  mkdirSync(join(root, pool), { recursive: true });
  for (const file of packages) linkSync(file, join(root, pool, basename(file)));
  const dist = join(root, 'dists', SUITE);
  for (const arch of DEB_ARCHITECTURES) {
    const folder = join(dist, 'main', `binary-${arch}`);
    mkdirSync(folder, { recursive: true });
    const list = run('apt-ftparchive', ['--arch', arch, 'packages', pool], { cwd: root });
    writeFileSync(join(folder, 'Packages'), list);
    writeFileSync(join(folder, 'Packages.gz'), gzip(list));
  }
  const facts: Readonly<Record<string, string>> = {
    Origin: 'Trousseau',
    Label: 'Trousseau',
    Suite: SUITE,
    Codename: SUITE,
    Architectures: DEB_ARCHITECTURES.join(' '),
    Components: 'main',
    Description: 'Kubernetes KMS plugin Trousseau',
    Date: new Date(epoch * 1000).toUTCString().replace('GMT', '+0000'),
  };
  const settings = Object.entries(facts).flatMap(([name, value]) => [
    '-o',
    `APT::FTPArchive::Release::${name}=${value}`,
  ]);
  const release = run('apt-ftparchive', [...settings, 'release', '.'], { cwd: dist });
  // The tool dates it by its own clock.
  writeFileSync(join(dist, 'Release'), release.replace(/^Date: .*$/m, `Date: ${facts['Date']}`));
  signer.detached(join(dist, 'Release'), join(dist, 'Release.gpg'));
  signer.clear(join(dist, 'Release'), join(dist, 'InRelease'));
}

/** Packages and repodata/, its index signed. */
export function dnfRepository(
  root: string,
  packages: readonly string[],
  signer: Signer,
  epoch: number,
): void {
  mkdirSync(join(root, 'Packages'), { recursive: true });
  for (const file of packages) linkSync(file, join(root, 'Packages', basename(file)));
  const dated = ['--revision', String(epoch), '--set-timestamp-to-revision'];
  run('createrepo_c', ['--quiet', '--no-database', '--simple-md-filenames', ...dated, root]);
  signer.detached(join(root, 'repodata/repomd.xml'));
}
