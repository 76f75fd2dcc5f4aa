import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import { bundleProgram, NODE_FLAGS } from '../../scripts/binary/bundle.ts';
import { type Arch, emulator, nodePackage, nodeVersion } from '../../scripts/binary/runtime.ts';
import { missingTools } from '../../scripts/packages/tools.ts';
import type { License } from '../../src/cli/licenses.ts';
import { environment } from '../servers/process.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { executable, ROOT, type Serving, serveLocally } from './executable.ts';

const SECRET = Buffer.from('0123456789abcdef0123456789abcdef');
/** proc(5): state LISTEN in /proc/net/tcp. */
const LISTENING = '0A';

/** Every call of both versions of the protocol. */
async function assertServes({ client: { v1, v2 } }: Serving): Promise<void> {
  assert.equal((await v1.version()).version, 'v1beta1');
  const { cipher } = await v1.encrypt(SECRET);
  assert.deepEqual(Buffer.from((await v1.decrypt(cipher)).plain), SECRET);
  await assertServesV2({ v2 });
}

async function assertServesV2({ v2 }: Pick<Serving['client'], 'v2'>): Promise<void> {
  const sealed = await v2.encrypt(SECRET, 'test');
  assert.equal(sealed.key_id, (await v2.status()).key_id);
  const { plaintext } = await v2.decrypt({ ...sealed, uid: 'test' });
  assert.deepEqual(Buffer.from(plaintext), SECRET);
}

/** The TCP ports that a process listens on, in hexadecimal, of either IP version. */
function listeningPorts(pid: number): readonly string[] {
  const own = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => {
        return state === LISTENING && own.includes(`socket:[${inode}]`);
      })
      .map(([, local = '']) => local.split(':')[1] ?? ''),
  );
}

function threads(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/task`).map((id) =>
    readFileSync(`/proc/${pid}/task/${id}/comm`, 'utf8').trim(),
  );
}

/** The command that runs the executable here. */
function runs(arch: Arch): readonly string[] {
  const first = emulator(arch);
  assert.ok(first !== undefined, missingTools('binary') ?? `nothing here runs ${arch}`);
  return [...first, executable(arch)];
}

/**
 * Of an executable, as Node's single executable applications lay them out: the name, eight bytes of
 * length, the content.
 */
function asset(bytes: Buffer, name: string): Buffer {
  const named = Buffer.alloc(8 + name.length);
  named.writeBigUInt64LE(BigInt(name.length));
  named.write(name, 8, 'latin1');
  const at = bytes.indexOf(named) + named.length;
  assert.ok(at >= named.length && bytes.indexOf(named, at) === -1, name);
  const length = Number(bytes.readBigUInt64LE(at));
  return bytes.subarray(at + 8, at + 8 + length);
}

/** What the first script of the executable does, with the Node and the flags that are in it. */
const COMPILE = `const { readFileSync } = require('node:fs');
const [source, cachedData] = ['bundle.js', 'bundle.cache'].map((name) => readFileSync(name));
const script = new (require('node:vm').Script)(source.latin1Slice(), { filename: 'trousseau.cjs', cachedData });
process.stdout.write(String(script.cachedDataRejected));`;

/** Whether V8 takes the code cache that is inside, as it does without saying so at a start. */
function isCacheRejected(dir: string, arch: Arch): string {
  const bytes = readFileSync(executable(arch));
  for (const name of ['bundle.js', 'bundle.cache'])
    writeFileSync(join(dir, name), asset(bytes, name));
  const [command = '', ...args] = [
    ...(emulator(arch) ?? []),
    join(ROOT, nodePackage(arch), 'bin/node'),
  ];
  return execFileSync(command, [...args, ...NODE_FLAGS, '-e', COMPILE], {
    cwd: dir,
    encoding: 'utf8',
    env: environment(),
  });
}

for (const arch of ['x64', 'arm64'] as const) {
  test(`V8 takes the code cache of the ${arch} executable`, (t) => {
    assert.equal(isCacheRejected(temporaryFolder(t), arch), 'false');
  });
}

describe('the x64 executable', () => {
  const program = runs('x64');

  it('serves v1 and v2 with a local keyring', async (t) => {
    await using serving = await serveLocally(temporaryFolder(t), program);
    await assertServes(serving);
  });

  it('opens no inspector for NODE_OPTIONS nor for SIGUSR1', async (t) => {
    const env = { NODE_OPTIONS: '--inspect=127.0.0.1:0' };
    await using serving = await serveLocally(temporaryFolder(t), program, env);
    process.kill(serving.process.pid, 'SIGUSR1');
    await assertServes(serving);
    assert.deepEqual(listeningPorts(serving.process.pid), []);
    await serving.process.stop();
    assert.doesNotMatch(readFileSync(serving.process.logFile, 'utf8'), /Debugger/);
  });

  it('has Node print nothing of what it works on: NODE_DEBUG', async (t) => {
    const env = { NODE_DEBUG: 'stream,net,http,http2,undici', NODE_DEBUG_NATIVE: 'http2' };
    await using serving = await serveLocally(temporaryFolder(t), program, env);
    await assertServes(serving);
    const environ = readFileSync(`/proc/${serving.process.pid}/environ`, 'latin1');
    assert.doesNotMatch(environ, /NODE_DEBUG/);
    await serving.process.stop();
    const lines = readFileSync(serving.process.logFile, 'utf8').trim().split('\n');
    for (const line of lines) assert.match(line, /^\{"time":/);
  });

  it('keeps its arguments and its exit code where NODE_DEBUG is set, and refuses where descriptors were handed over', () => {
    const [command = '', ...args] = program;
    const ask = (env: Readonly<Record<string, string>>, ...more: readonly string[]) => {
      const all = { env: environment(env), encoding: 'utf8' } as const;
      const { status, stdout, stderr } = spawnSync(command, [...args, ...more], all);
      return { status, stdout, stderr };
    };
    for (const more of [['version'], ['srve', '--a b'], ['config', 'check', '/none "$x"']])
      assert.deepEqual(ask({ NODE_DEBUG: 'stream' }, ...more), ask({}, ...more));
    assert.deepEqual(ask({ NODE_DEBUG: 'stream', LISTEN_FDS: '1' }, 'serve'), {
      status: 1,
      stdout: '',
      stderr:
        'with NODE_DEBUG or NODE_DEBUG_NATIVE Node would print data keys: take them out of the environment\n',
    });
  });

  it('lets no environment variable write its coverage', async (t) => {
    const dir = temporaryFolder(t);
    const coverage = join(dir, 'coverage');
    await using serving = await serveLocally(dir, program, { NODE_V8_COVERAGE: coverage });
    await serving.process.stop();
    assert.ok(!readdirSync(dir).includes('coverage'));
  });

  it("reads no configuration of the machine's OpenSSL", async (t) => {
    const dir = temporaryFolder(t);
    const file = join(dir, 'openssl.cnf');
    writeFileSync(file, 'this is none [\n');
    await using serving = await serveLocally(dir, program, { OPENSSL_CONF: file });
    await assertServes(serving);
  });

  it('has four threads for files and names, whatever the environment says', async (t) => {
    const env = { UV_THREADPOOL_SIZE: '9' };
    await using serving = await serveLocally(temporaryFolder(t), program, env);
    const pool = threads(serving.process.pid).filter((name) => name === 'libuv-worker');
    assert.equal(pool.length, 4);
  });

  it('takes no option of Node from the command line', () => {
    const [command = '', ...args] = program;
    const { status, stderr } = spawnSync(command, [...args, '--inspect', 'version'], {
      env: environment(),
      encoding: 'utf8',
    });
    assert.equal(status, 2);
    assert.match(stderr, /options stand behind the command/);
  });

  it('says which commit and which runtime it is', () => {
    const facts = JSON.parse(run(program, 'version', '--output', 'json'));
    assert.match(facts.commit, /^[0-9a-f]{12}$|^unknown$/);
    assert.equal(facts.node, nodeVersion());
    assert.match(facts.openssl, /^3\./);
  });

  it('has the license of every package inside, whole', async () => {
    const licenses = JSON.parse(run(program, 'licenses', '--output', 'json')) as readonly License[];
    const { packages } = await bundleProgram();
    const names = packages.map((folder) => folder.replace(/^.*node_modules\//, ''));
    assert.deepEqual(
      licenses.map(({ name }) => name),
      ['trousseau', 'node', ...names],
    );
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    for (const name of Object.keys(dependencies)) assert.ok(names.includes(name), name);
    const node = readFileSync(join(ROOT, nodePackage('x64'), 'LICENSE'), 'utf8').trimEnd();
    assert.equal(licenses[1]?.text, node);

    const text = run(program, 'licenses');
    for (const { name, version, text: whole } of licenses) {
      assert.ok(text.includes(`${name} ${version} (`), name);
      assert.ok(text.includes(whole), name);
    }
  });

  it('ends quietly where a pager wants no more of the licenses', () => {
    const shell = `"$0" licenses 2>&1 | head -n 1`;
    const out = execFileSync('/bin/sh', ['-c', shell, executable('x64')], { encoding: 'utf8' });
    assert.match(out, /^trousseau \S+ \(Apache-2\.0\)\n$/);
  });
});

describe('the arm64 executable, on an emulated processor', () => {
  const program = runs('arm64');

  it('answers v2', async (t) => {
    await using serving = await serveLocally(temporaryFolder(t), program);
    await assertServesV2(serving.client);
  });

  it('is the same version with the same licenses as the other', () => {
    for (const asked of ['version', 'licenses']) {
      assert.equal(run(program, asked), run([executable('x64')], asked));
    }
  });
});

function run([command = '', ...first]: readonly string[], ...args: readonly string[]): string {
  const options = { env: environment(), encoding: 'utf8', maxBuffer: 1e7 } as const;
  return execFileSync(command, [...first, ...args], options);
}
