/**
 * Bundles the daemon into dist/: `dist/trousseau` starts `dist/lib/trousseau.cjs` with the pinned
 * Node beside it, from any working directory, with the flags that keep it small and closed.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { arch } from 'node:process';
import { build } from 'esbuild';

const OUT = 'dist';
const NODE = `node_modules/node-linux-${arch}/bin/node`;

/**
 * Measured in docs/benchmarks.md: a small young generation and one helper thread cost nothing here
 * and save two thirds of the memory. SIGUSR1 would open the inspector in a daemon that holds keys.
 */
const NODE_FLAGS = [
  '--max-semi-space-size=1',
  '--max-old-space-size=64',
  '--v8-pool-size=1',
  '--disable-sigusr1',
  '--no-warnings=ExperimentalWarning',
];

/** NODE_OPTIONS and the like are for whoever develops, not for whoever finds the environment open. */
const LAUNCHER = `#!/bin/sh
# Starts the bundle with the Node that it was tested with; no core dumps, they would hold keys.
here=$(dirname "$(readlink -f "$0")")/lib
ulimit -c 0
unset NODE_OPTIONS NODE_REPL_EXTERNAL_MODULE NODE_PATH NODE_V8_COVERAGE
UV_THREADPOOL_SIZE=1 MALLOC_ARENA_MAX=1 exec "$here/node" ${NODE_FLAGS.join(' ')} "$here/trousseau.cjs" "$@"
`;

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };

mkdirSync(`${OUT}/lib`, { recursive: true });
await build({
  entryPoints: ['src/main.ts'],
  outfile: `${OUT}/lib/trousseau.cjs`,
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
writeFileSync(`${OUT}/trousseau`, LAUNCHER);
chmodSync(`${OUT}/trousseau`, 0o755);

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
