/**
 * V8 reads what was compiled at build time instead of compiling it at every start; where Node or its
 * flags are other ones it compiles anew. Node's own compile cache would be one for each user.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { createKmsClient } from '../../src/kms/client.ts';
import { LOADED_LATE, NODE_FLAGS } from './bundle.ts';

const WARM_LIMIT_MS = 60_000; // an emulated processor takes ten seconds

/** In the log once Status is good: an earlier call would be refused, and only sometimes. */
const READY = 'key announced';

/**
 * Makes the hash seed and the garbage collector's moments the same in every run, and so the bytes of
 * the cache; V8 leaves it out of the hash of flags by which it takes or refuses a cache.
 */
const PREDICTABLE = '--predictable';

/** Runs the program without a cache; leaves one when it ends, with what a life without Vault never loads. */
const WARMING = `const { readFileSync, writeFileSync } = require('node:fs');
const { setFlagsFromString } = require('node:v8');
const { Script } = require('node:vm');
// A cache says of each function whether the baseline compiler has compiled it. That depends on how often it
// ran, and so on how many pieces a socket gave its bytes in. The optimizing compilers leave their marks too.
// A collection of garbage forgets what was compiled and has not run for a while.
const switched = ['sparkplug', 'maglev', 'turbofan', 'flush-bytecode'];
for (const name of switched) setFlagsFromString('--no-' + name);
// On a busy machine more timers fire than on a quiet one: here no time passes, and no timer of more than a moment fires.
const moment = performance.now();
Object.defineProperty(performance, 'now', { value: () => moment });
const { setTimeout } = globalThis;
globalThis.setTimeout = (callback, ms, ...values) => setTimeout(callback, ms < 50 ? ms : 2 ** 30, ...values);
const script = new Script(readFileSync(__dirname + '/bundle.js', 'latin1'), { filename: 'trousseau.cjs' });
const program = script.runInThisContext();
globalThis.${LOADED_LATE} = [];
process.on('exit', () => {
  for (const parts of globalThis.${LOADED_LATE}) Object.values(parts);
  // V8 takes a cache only under the flags that it was made with.
  for (const name of switched) setFlagsFromString('--' + name);
  writeFileSync(__dirname + '/bundle.cache', script.createCachedData());
});
program(exports, require, module, __filename, __dirname);
`;

/**
 * Reads the cache and writes it anew. Functions are numbered in the order in which they came to be,
 * which in a whole life of the daemon differs from run to run; here it is that of the cache.
 */
const NUMBERING = `const { readFileSync, writeFileSync } = require('node:fs');
const { Script } = require('node:vm');
const cachedData = readFileSync(__dirname + '/bundle.cache');
const script = new Script(readFileSync(__dirname + '/bundle.js', 'latin1'), { filename: 'trousseau.cjs', cachedData });
if (script.cachedDataRejected) throw new Error('V8 refuses the code cache that it has made');
writeFileSync(__dirname + '/bundle.cache', script.createCachedData());
`;

/** How many lives must give the same bytes: on a slow processor a timer may fire that otherwise does not. */
const AGREEING = 3;
const MOST_LIVES = 12;

/**
 * The code cache for a bundle's source after whole lives of the daemon, so that what a start runs is in
 * it. `node` is the command that runs Node, with its emulator if it needs one.
 */
export async function makeCodeCache(source: string, node: readonly string[]): Promise<Buffer> {
  const seen = new Map<string, number>();
  for (let lives = 0; lives < MOST_LIVES; lives += 1) {
    const cache = await cacheOfOneLife(source, node);
    const name = cache.toString('latin1');
    const times = (seen.get(name) ?? 0) + 1;
    if (times === AGREEING) return cache;
    seen.set(name, times);
  }
  throw new Error(`of ${MOST_LIVES} lives of the daemon no ${AGREEING} gave the same code cache`);
}

async function cacheOfOneLife(source: string, node: readonly string[]): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'trousseau-build-'));
  try {
    writeFileSync(join(folder, 'bundle.js'), source);
    writeFileSync(join(folder, 'warming.cjs'), WARMING);
    writeFileSync(join(folder, 'numbering.cjs'), NUMBERING);
    const keyring = join(folder, 'keyring.json');
    const [command = '', ...args] = [...node, ...NODE_FLAGS, PREDICTABLE];
    const program = [...args, join(folder, 'warming.cjs')];
    execFileSync(command, [...program, 'keyring', 'init', keyring], { stdio: 'ignore' });
    const socket = join(folder, 'kms.sock');
    const configuration = {
      apiVersion: 'trousseau.io/v1',
      kind: 'KMSPluginConfiguration',
      listen: { socket },
      admin: { socket: join(folder, 'admin.sock') },
      providers: [{ name: 'local', local: { keyringFile: keyring } }],
    };
    writeFileSync(join(folder, 'config.yaml'), JSON.stringify(configuration));
    const serve = [...program, 'serve', '--config', join(folder, 'config.yaml')];
    const daemon = spawn(command, serve, {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: WARM_LIMIT_MS,
      killSignal: 'SIGKILL',
    });
    const ended = once(daemon, 'exit');
    try {
      await waitForLine(daemon.stderr, READY);
      await liveOnce(socket);
    } finally {
      daemon.kill('SIGTERM');
      await ended;
    }
    execFileSync(command, [...args, join(folder, 'numbering.cjs')]);
    return readFileSync(join(folder, 'bundle.cache'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Reads to the end all the same: a daemon whose log nobody reads would wait. */
async function waitForLine(log: Readable, text: string): Promise<void> {
  const lines = createInterface({ input: log });
  const found = Promise.withResolvers<void>();
  lines.on('line', (line) => {
    if (line.includes(text)) found.resolve();
  });
  lines.on('close', () => found.reject(new Error(`the bundle ended without saying: ${text}`)));
  await found.promise;
}

/** The same calls in the same order each time: what they run is what the cache holds. */
async function liveOnce(socket: string): Promise<void> {
  const client = createKmsClient(socket, WARM_LIMIT_MS);
  try {
    const { healthz } = await client.v2.status();
    if (healthz !== 'ok') throw new Error(`the bundle serves, but is not well: ${healthz}`);
    const sealed = await client.v2.encrypt(Buffer.alloc(32, 1), 'build');
    await client.v2.decrypt({ ...sealed, uid: 'build' });
  } finally {
    client.close();
  }
}
