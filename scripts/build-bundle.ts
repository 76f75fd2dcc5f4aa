/**
 * Bundles the daemon into dist/: `dist/trousseau` starts `dist/lib/trousseau.cjs` with the pinned
 * Node beside it, from any working directory, with the flags that keep it small and closed.
 */
import {
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { arch } from 'node:process';
import { bundleProgram, LATE_FLAGS, NODE_FLAGS, UV_THREADS } from './binary/bundle.ts';
import { makeCodeCache } from './binary/code-cache.ts';
import { collectLicenses } from './binary/licenses.ts';

const OUT = 'dist';
const NODE_PACKAGE = `node_modules/node-linux-${arch}`;
const NODE = `${NODE_PACKAGE}/bin/node`;

/**
 * NODE_OPTIONS and similar variables are for developers, not for an attacker who can set the environment; with
 * some of them Node writes files. NODE_DEBUG has it print what passes through its streams: data keys and tokens.
 */
const LAUNCHER = `#!/bin/sh
# Starts the bundle with the Node that it was tested with; no core dumps, they would hold keys.
self=$0
[ -L "$self" ] && self=$(readlink -f "$self")
here=\${self%/*}/lib
ulimit -c 0
unset NODE_OPTIONS NODE_REPL_EXTERNAL_MODULE NODE_PATH NODE_DEBUG NODE_DEBUG_NATIVE
unset NODE_V8_COVERAGE NODE_COMPILE_CACHE NODE_REDIRECT_WARNINGS
# libuv gives name look-ups at most half of them, so that one that hangs leaves files readable.
export UV_THREADPOOL_SIZE=${UV_THREADS}
# glibc keeps what was freed, some 8 MiB of it, unless it is told not to.
export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_TOP_PAD_=65536
exec "$here/node" ${NODE_FLAGS.join(' ')} "$here/trousseau.cjs" "$@"
`;

const ENTRY = `const { readFileSync } = require('node:fs');
const { Script } = require('node:vm');
const filename = __dirname + '/bundle.cjs';
const source = readFileSync(filename, 'latin1');
const cachedData = readFileSync(__dirname + '/bundle.cache');
const script = new Script(source, { filename, cachedData });
// Its memory is given back at once: it might not be collected for hours.
cachedData.buffer.transfer(0);
script.runInThisContext()(exports, require, module, filename, __dirname);
${LATE_FLAGS}`;

const { source, packages } = await bundleProgram();
mkdirSync(`${OUT}/lib`, { recursive: true });
placeNode(`${OUT}/lib/node`);
writeFileSync(`${OUT}/lib/bundle.cjs`, source);
writeFileSync(`${OUT}/lib/bundle.cache`, await makeCodeCache(source, [NODE]));
writeFileSync(`${OUT}/lib/licenses.json`, JSON.stringify(collectLicenses(packages, NODE_PACKAGE)));
writeFileSync(`${OUT}/lib/trousseau.cjs`, ENTRY);
writeFileSync(`${OUT}/trousseau`, LAUNCHER);
chmodSync(`${OUT}/trousseau`, 0o755);

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
