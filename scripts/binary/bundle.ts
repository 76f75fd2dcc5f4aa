/** The daemon as one script, with the parts of packages that it uses: what both shipped forms run. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { build, type Plugin } from 'esbuild';
import { HEAP_MEGABYTES } from '../../src/limits.ts';

/**
 * Measured in docs/benchmarks.md: a small young generation and one helper thread cost nothing here
 * and save two thirds of the memory. SIGUSR1 would open the inspector in a daemon that holds keys.
 * OpenSSL's configuration of the machine is not read: Node ends at once where its user may not read that
 * file, or where it is damaged or asks for a module that is not there.
 */
export const NODE_FLAGS = [
  '--max-semi-space-size=4',
  `--max-old-space-size=${HEAP_MEGABYTES}`,
  '--v8-pool-size=1',
  '--no-concurrent-recompilation',
  '--disable-sigusr1',
  '--openssl-config=/dev/null',
  '--no-warnings=ExperimentalWarning',
];

/**
 * Collects the old generation before it has doubled; see docs/decisions/0008-memory.md. As a flag of
 * the command line it would change the hash of flags with which V8 takes the code caches of Node's own
 * modules: all would be compiled at each start, for 30 ms. So it is set when the start is over.
 */
export const LATE_FLAGS = `setTimeout(() => require('node:v8').setFlagsFromString('--heap-growing-percent=25'), 1_000).unref();
`;

/**
 * libuv gives name look-ups at most half of them, and src/system/read-file.ts takes two at most: what
 * hangs of the one does not hold up the other.
 */
export const UV_THREADS = '4';

/** A global list that the making of the code cache sets, of what it is to load before it ends. */
export const LOADED_LATE = 'trousseauLoadedLate';

/** What stands for a package in the bundle: the parts of it that are used, or nothing. */
const PARTS: Readonly<Record<string, string>> = {
  // Its index loads fetch, caches, WebSockets and mocks too: 20 ms at every start. The parts wait for the
  // first Vault, when the socket is open; code-cache.ts has them loaded, so that they are compiled.
  undici: `
    const part = (name, load) => Object.defineProperty(exports, name, { enumerable: true, get: load });
    part('Pool', () => require('undici/lib/dispatcher/pool'));
    part('ProxyAgent', () => {
      const Dispatcher = require('undici/lib/dispatcher/dispatcher');
      Dispatcher.prototype.connect = require('undici/lib/api/api-connect'); // of a proxy's tunnel
      return require('undici/lib/dispatcher/proxy-agent');
    });
    globalThis.${LOADED_LATE}?.push(exports);`,
  // grpc-js needs it for channelz and ORCA alone, which are not used here.
  '@grpc/proto-loader': `exports.loadSync = () => { throw new Error('not part of the bundle'); };`,
};

const partsOnly: Plugin = {
  name: 'parts-only',
  setup(builder) {
    const names = new RegExp(`^(${Object.keys(PARTS).join('|')})$`);
    builder.onResolve({ filter: names }, ({ path }) => ({ path, namespace: 'parts' }));
    builder.onLoad({ filter: /.*/, namespace: 'parts' }, ({ path }) => ({
      contents: PARTS[path] ?? '',
      resolveDir: process.cwd(),
    }));
  },
};

/** Modules of Node that take 1 to 4 ms to load, and that no start needs. */
const LAZY = ['child_process', 'dns', 'dns/promises', 'zlib'];

/** Loads them when something of theirs is first asked for. */
const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup(builder) {
    const names = new RegExp(`^(node:)?(${LAZY.join('|')})$`);
    builder.onResolve({ filter: names }, ({ path, namespace }) => {
      const name = path.replace(/^node:/, '');
      return namespace === 'lazy'
        ? { path: `node:${name}`, external: true }
        : { path: name, namespace: 'lazy' };
    });
    builder.onLoad({ filter: /.*/, namespace: 'lazy' }, async ({ path }) => {
      const names = Object.keys((await import(`node:${path}`)) as object);
      return {
        contents: `for (const name of ${JSON.stringify(names.filter((name) => name !== 'default'))})
          Object.defineProperty(exports, name, { enumerable: true, get: () => require('node:${path}')[name] });`,
      };
    });
  },
};

export type Bundle = {
  /**
   * An expression whose value is a function of CommonJS's five names; ASCII alone, so that its bytes
   * are its characters.
   */
  readonly source: string;
  /** The folders under node_modules/ of all packages that are inside, sorted. */
  readonly packages: readonly string[];
};

/** Bundles src/main.ts of the working directory. */
export async function bundleProgram(): Promise<Bundle> {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const { outputFiles, metafile } = await build({
    entryPoints: ['src/main.ts'],
    write: false,
    metafile: true,
    plugins: [partsOnly, lazyBuiltins],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node24',
    charset: 'ascii',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    define: {
      __TROUSSEAU_VERSION__: JSON.stringify(version),
      __TROUSSEAU_COMMIT__: JSON.stringify(commit()),
    },
  });
  const [output] = Object.values(metafile.outputs);
  const inside = Object.entries(output?.inputs ?? {}).filter(([, part]) => part.bytesInOutput > 0);
  const packages = new Set<string>();
  for (const [file] of inside) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0];
    if (folder !== undefined) packages.add(folder);
  }
  return {
    source: `(function (exports, require, module, __filename, __dirname) {${outputFiles[0]?.text}\n})`,
    packages: [...packages].sort(),
  };
}

/** TROUSSEAU_COMMIT is for whoever builds from a source archive and knows which commit it is of. */
function commit(): string {
  const given = process.env['TROUSSEAU_COMMIT'];
  if (given !== undefined) return given;
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}
