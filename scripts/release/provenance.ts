/** Where a release comes from, as an in-toto statement with SLSA's provenance: enough to make it again. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Edition } from '../packages/edition.ts';
import { run } from '../packages/tools.ts';
import { sha256 } from './digests.ts';
import { unsignedBytes } from './package-files.ts';

/** What `verify` reads of it again. */
export type Provenance = {
  readonly predicate: {
    readonly buildDefinition: {
      readonly externalParameters: {
        readonly commit: string;
        readonly version: string;
        readonly sourceDateEpoch: number;
      };
      readonly internalParameters: {
        readonly allCommitted: boolean;
        readonly tools: Readonly<Record<string, string>>;
      };
    };
    readonly runDetails: {
      readonly byproducts: readonly {
        readonly name: string;
        readonly digest: { readonly sha256: string };
      }[];
    };
  };
};

/** Names, as SLSA wants them to be URIs; docs/packages.md says what they mean. */
const SPEC = 'https://trousseau.io/build/packages/v1';

/** What a package is made with: another version may compress otherwise, and give other bits. */
const TOOLS: Readonly<Record<string, readonly string[]>> = {
  'dpkg-deb': ['--version'],
  rpmbuild: ['--version'],
  checkmodule: ['-V'],
  readelf: ['--version'],
  createrepo_c: ['--version'],
  'apt-ftparchive': ['--version'],
  gpg: ['--version'],
};

/** Those whose versions show in a package; the others make lists and signatures. */
export const PACKERS = ['node', 'dpkg-deb', 'rpmbuild', 'checkmodule', 'readelf'];

/** Over the signed packages; their bytes without signatures, which a rebuild gives, are by-products. */
export function provenance(
  edition: Edition,
  packages: readonly string[],
): Readonly<Record<string, unknown>> {
  const { version, commit, epoch, dirty } = edition;
  const date = new Date(epoch * 1000).toISOString();
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: packages.map((file) => ({
      name: basename(file),
      digest: { sha256: sha256(readFileSync(file)) },
    })),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: SPEC,
        externalParameters: { commit, version, sourceDateEpoch: epoch },
        internalParameters: {
          allCommitted: !dirty,
          tools: toolVersions(),
          rebuild: [`git checkout ${commit}`, 'make verify-release RELEASE=FOLDER_OF_THIS_FILE'],
        },
        resolvedDependencies: [
          {
            uri: `pkg:generic/trousseau@${version}?vcs_commit=${commit}`,
            digest: { gitCommit: commit },
          },
          {
            uri: 'package-lock.json',
            digest: { sha256: sha256(readFileSync('package-lock.json')) },
          },
        ],
      },
      runDetails: {
        builder: { id: `${SPEC}#make-release` },
        metadata: { invocationId: commit, startedOn: date, finishedOn: date },
        byproducts: packages.map((file) => ({
          name: basename(file),
          digest: { sha256: sha256(unsignedBytes(file)) },
          annotations: { what: 'the package without its signature' },
        })),
      },
    },
  };
}

/** What each tool of this machine says of its version, by name. */
export function toolVersions(): Readonly<Record<string, string>> {
  const versions = Object.entries(TOOLS).map(
    ([tool, args]) => [tool, run(tool, args).split('\n')[0]?.trim() ?? ''] as const,
  );
  return Object.fromEntries([['node', nodeVersion()], ...versions]);
}

function nodeVersion(): string {
  return run('node_modules/.bin/node', ['--version']).trim();
}
