/** One executable from Node, the bundle and its code cache; see docs/decisions/0009-executable.md. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { License } from '../../src/cli/licenses.ts';
import { LATE_FLAGS, NODE_FLAGS, UV_THREADS } from './bundle.ts';
import { stripElf } from './strip.ts';

export type Parts = {
  readonly arch: string;
  readonly nodeVersion: string;
  /** The program of Node that everything is put into. */
  readonly node: string;
  readonly source: string;
  readonly codeCache: Buffer;
  readonly licenses: readonly License[];
};

/**
 * Node has read NODE_DEBUG when our first script runs, and would print data keys and tokens: the process begins
 * again without it. Node would close descriptors that were handed over, so with some it does not begin at all.
 */
const WITHOUT_DEBUG = `if (process.env.NODE_DEBUG || process.env.NODE_DEBUG_NATIVE) {
  const { NODE_DEBUG, NODE_DEBUG_NATIVE, ...env } = process.env;
  if (env.LISTEN_FDS) {
    const why = 'with NODE_DEBUG or NODE_DEBUG_NATIVE Node would print data keys: take them out of the environment';
    require('node:fs').writeSync(2, why + '\\n');
    process.exit(1);
  }
  process.execve(process.execPath, [process.argv0, ...process.argv.slice(2)], env);
}
`;

/**
 * The first script that runs. The environment is changed before libuv makes its threads, which it
 * does at the first use; what may be changed only before the process starts is systemd's business.
 * NODE_V8_COVERAGE is the one wish of the environment to write files that execArgvExtension lets by.
 */
const MAIN = `${WITHOUT_DEBUG}process.env.UV_THREADPOOL_SIZE = '${UV_THREADS}';
if (process.env.NODE_V8_COVERAGE) require('node:v8').stopCoverage();
const { getRawAsset } = require('node:sea');
const { Script } = require('node:vm');
const source = Buffer.from(getRawAsset('bundle.js')).latin1Slice();
const cachedData = Buffer.from(getRawAsset('bundle.cache'));
const script = new Script(source, { filename: 'trousseau.cjs', cachedData });
script.runInThisContext()(exports, require, module, __filename, __dirname);
${LATE_FLAGS}`;

/** Writes the executable; the same parts give the same bytes, wherever it happens. */
export function writeExecutable(output: string, parts: Parts): void {
  const folder = mkdtempSync(join(tmpdir(), 'trousseau-pack-'));
  try {
    writeFileSync(join(folder, 'main.cjs'), MAIN);
    writeFileSync(join(folder, 'bundle.js'), parts.source);
    writeFileSync(join(folder, 'bundle.cache'), parts.codeCache);
    writeFileSync(join(folder, 'licenses.json'), JSON.stringify(parts.licenses));
    fillCacheOfPkg(folder, parts);
    execFileSync(
      process.execPath,
      [resolve(import.meta.dirname, 'pack.ts'), parts.arch, parts.nodeVersion, ...NODE_FLAGS],
      { cwd: folder, env: { PATH: process.env['PATH'], HOME: folder, TMPDIR: folder } },
    );
    mkdirSync(dirname(output), { recursive: true });
    rmSync(output, { force: true }); // it may be running
    copyFileSync(join(folder, 'trousseau'), output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** pkg would download Node from nodejs.org; it does not where its cache says that it has done so. */
function fillCacheOfPkg(home: string, { arch, nodeVersion, node }: Parts): void {
  const cache = join(home, '.pkg-cache/sea');
  const name = `node-v${nodeVersion}-linux-${arch}`;
  mkdirSync(join(cache, name, 'bin'), { recursive: true });
  writeFileSync(join(cache, `${name}.tar.gz`), '');
  writeFileSync(join(cache, `${name}.tar.gz.ok`), '');
  // After pkg has put its section in, no strip may touch it.
  writeFileSync(join(cache, name, 'bin/node'), stripElf(readFileSync(node)), { mode: 0o755 });
  writeFileSync(join(cache, name, 'bin/node.ok'), '');
}
