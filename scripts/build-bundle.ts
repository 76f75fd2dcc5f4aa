/**
 * Bundles the daemon into dist/: `dist/trousseau` starts `dist/lib/trousseau.cjs` with the pinned
 * Node beside it, from any working directory, with the flags that keep it small and closed.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { arch } from 'node:process';
import { build, type Plugin } from 'esbuild';
import { createKmsClient } from '../src/kms/client.ts';

const OUT = 'dist';
const WARM_LIMIT_MS = 10_000;
const NODE = `node_modules/node-linux-${arch}/bin/node`;

/**
 * Measured in docs/benchmarks.md: a small young generation and one helper thread cost nothing here
 * and save two thirds of the memory. SIGUSR1 would open the inspector in a daemon that holds keys.
 */
const NODE_FLAGS = [
  '--max-semi-space-size=1',
  '--max-old-space-size=64',
  '--heap-growing-percent=25',
  '--v8-pool-size=1',
  '--disable-sigusr1',
  '--no-warnings=ExperimentalWarning',
];

/** NODE_OPTIONS and the like are for whoever develops, not for whoever finds the environment open. */
const LAUNCHER = `#!/bin/sh
# Starts the bundle with the Node that it was tested with; no core dumps, they would hold keys.
self=$0
[ -L "$self" ] && self=$(readlink -f "$self")
here=\${self%/*}/lib
ulimit -c 0
unset NODE_OPTIONS NODE_REPL_EXTERNAL_MODULE NODE_PATH NODE_V8_COVERAGE
# Two threads: libuv gives name look-ups at most half of them, so that one that hangs leaves files readable.
export UV_THREADPOOL_SIZE=2 MALLOC_ARENA_MAX=1
exec "$here/node" ${NODE_FLAGS.join(' ')} "$here/trousseau.cjs" "$@"
`;

/**
 * V8 reads what was compiled at build time instead of compiling it at every start; where Node or its
 * flags are other ones it compiles anew. Node's own compile cache would be one for each user.
 */
const ENTRY = `const { readFileSync } = require('node:fs');
const { Script } = require('node:vm');
const filename = __dirname + '/bundle.cjs';
const source = '(function (exports, require, module, __filename, __dirname) {' + readFileSync(filename, 'utf8') + '\\n})';
const cachedData = readFileSync(__dirname + '/bundle.cache');
new Script(source, { filename, cachedData }).runInThisContext()(exports, require, module, filename, __dirname);
`;

/** The same without a cache; leaves one when it ends. */
const WARMING_ENTRY = ENTRY.replace(/^const cachedData = .*$/m, '')
  .replace(
    'new Script(source, { filename, cachedData })',
    'const script = new Script(source, { filename });\nscript',
  )
  .concat(
    `process.on('exit', () => require('node:fs').writeFileSync(__dirname + '/bundle.cache', script.createCachedData()));\n`,
  );

/** What stands for a package in the bundle: the parts of it that are used, or nothing. */
const PARTS: Readonly<Record<string, string>> = {
  // Its index loads fetch, caches, WebSockets and mocks too: 20 ms at every start.
  undici: `
    const Dispatcher = require('undici/lib/dispatcher/dispatcher');
    Dispatcher.prototype.connect = require('undici/lib/api/api-connect'); // of a proxy's tunnel
    exports.Pool = require('undici/lib/dispatcher/pool');
    exports.ProxyAgent = require('undici/lib/dispatcher/proxy-agent');`,
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

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

mkdirSync(`${OUT}/lib`, { recursive: true });
await build({
  entryPoints: ['src/main.ts'],
  outfile: `${OUT}/lib/bundle.cjs`,
  plugins: [partsOnly],
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node24',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  define: {
    __TROUSSEAU_VERSION__: JSON.stringify(version),
    __TROUSSEAU_COMMIT__: JSON.stringify(commit()),
  },
});
placeNode(`${OUT}/lib/node`);
writeFileSync(`${OUT}/lib/trousseau.cjs`, ENTRY);
writeFileSync(`${OUT}/trousseau`, LAUNCHER);
chmodSync(`${OUT}/trousseau`, 0o755);
await makeCodeCache();

/** One whole life of the daemon, so that what a start runs is in the code cache. */
async function makeCodeCache(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'trousseau-build-'));
  try {
    const keyring = join(folder, 'keyring.json');
    const warming = join(OUT, 'lib/warming.cjs');
    writeFileSync(warming, WARMING_ENTRY);
    const program = [...NODE_FLAGS, warming];
    execFileSync(NODE, [...program, 'keyring', 'init', keyring], { stdio: 'ignore' });
    const configuration = {
      apiVersion: 'trousseau.io/v1',
      kind: 'KMSPluginConfiguration',
      listen: { socket: join(folder, 'kms.sock') },
      admin: { socket: join(folder, 'admin.sock') },
      providers: [{ name: 'local', local: { keyringFile: keyring } }],
    };
    writeFileSync(join(folder, 'config.yaml'), JSON.stringify(configuration));
    const args = [...program, 'serve', '--config', join(folder, 'config.yaml')];
    const daemon = spawn(NODE, args, { stdio: 'ignore' });
    const ended = once(daemon, 'exit');
    const client = createKmsClient(configuration.listen.socket, WARM_LIMIT_MS);
    while ((await client.v2.status().catch(() => undefined))?.healthz !== 'ok') {
      if (daemon.exitCode !== null) throw new Error('the bundle does not start');
    }
    const sealed = await client.v2.encrypt(Buffer.alloc(32, 1), 'build');
    await client.v2.decrypt({ ...sealed, uid: 'build' });
    client.close();
    daemon.kill('SIGTERM');
    await ended;
    rmSync(warming);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown'; // built from a source archive
  }
}

/** The pinned Node, as a link where the file system allows it. */
function placeNode(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.ino === statSync(NODE).ino) return;
  rmSync(path, { force: true });
  try {
    linkSync(NODE, path);
  } catch {
    copyFileSync(NODE, path); // another file system
  }
}
