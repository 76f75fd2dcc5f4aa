import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { startPlugin } from '../servers/plugin.ts';
import { environment } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { localProviders, PROGRAM, trousseau, writeConfig } from './program.ts';

const NOTICE_MS = 10_000;
const SEED = Buffer.alloc(32, 0x5e);

describe('a configuration with mistakes', () => {
  for (const argvOf of [
    (file: string) => ['serve', '--config', file],
    (file: string) => ['config', 'check', file],
  ]) {
    it(`ends ${argvOf('')[0]} with 2, and file, line, column and field of each`, async (t) => {
      const file = join(temporaryFolder(t), 'config.yaml');
      writeFileSync(
        file,
        `apiVersion: trousseau.io/v1
kind: KMSPluginConfiguration
listen:
  soket: /run/kms.sock
providers:
  - name: Vault!
    vault:
      addresses: [ftp://vault]
`,
      );
      const { code, out, err } = await trousseau(...argvOf(file));
      assert.deepEqual([code, out], [2, '']);
      for (const [line, field] of [
        [4, 'listen.soket'],
        [6, 'providers[0].name'],
        [8, 'providers[0].vault.addresses[0]'],
      ] as const) {
        const found = err
          .split('\n')
          .some((text) => text.startsWith(`${file}:${line}:`) && text.includes(` ${field}: `));
        assert.ok(found, `${line} ${field} in ${err}`);
      }
    });
  }

  it('being no text at all ends with 2 and the name of the file', async (t) => {
    const file = join(temporaryFolder(t), 'config.yaml');
    for (const [bytes, said] of [
      [[0x61, 0xff, 0x00], 'it is not UTF-8 text'],
      [[0xff, 0xfe, 0x61, 0x00], 'it is UTF-16: save it as UTF-8'],
    ] as const) {
      writeFileSync(file, Buffer.from(bytes));
      assert.deepEqual(await trousseau('config', 'check', file), {
        code: 2,
        out: '',
        err: `${file}: ${said}\n`,
      });
    }
  });
});

describe('standard input in the place of a file', () => {
  for (const [what, path, said] of [
    ['a directory', '/', 'it is a directory'],
    ['nothing', '/dev/null', 'it is empty'],
    ['a device without an end', '/dev/zero', 'it is larger than 1048576 bytes'],
  ] as const) {
    it(`that is ${what} ends with 2 and says so`, () => {
      const input = openSync(path, 'r');
      const { status, stdout, stderr } = spawnSync(PROGRAM, ['config', 'check', '-'], {
        env: environment(),
        stdio: [input, 'pipe', 'pipe'],
        encoding: 'utf8',
      });
      closeSync(input);
      assert.deepEqual([status, stdout, stderr], [2, '', `standard input: ${said}\n`]);
    });
  }
});

describe('an output that cannot be written', () => {
  for (const argvOf of [
    () => ['version'],
    () => ['version', '--output', 'json'],
    () => ['--version'],
    () => ['--help'],
    () => ['help', 'serve'],
    () => ['serve', '--help'],
    () => ['licenses'],
    (dir: string) => ['config', 'check', join(dir, 'config.yaml')],
    (dir: string) => ['config', 'check', '--output', 'json', join(dir, 'config.yaml')],
    (dir: string) => ['config', 'migrate', join(dir, 'config.yaml')],
    (dir: string) => ['keyring', 'init', join(dir, 'another.json')],
    (dir: string) => ['keyring', 'rotate', join(dir, 'keyring.json')],
    (dir: string) => ['keyring', 'list', join(dir, 'keyring.json')],
  ]) {
    it(`ends ${argvOf('').join(' ')} with 1, and says why`, async (t) => {
      const dir = temporaryFolder(t);
      writeConfig(dir, { providers: await localProviders(dir) });
      const { code, err } = intoFullDevice(argvOf(dir));
      assert.equal(code, 1);
      assert.match(err, /^write error: no space left on device$/m);
      assert.doesNotMatch(err, / {4}at /);
    });
  }

  it('changes nothing for errors, which go to another stream', () => {
    assert.equal(intoFullDevice(['srve']).code, 2);
  });
});

/** Runs it with /dev/full as its standard output: every write fails, as on a disk that is full. */
function intoFullDevice(argv: readonly string[]): { code: number | null; err: string } {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(PROGRAM, argv, {
    env: environment(),
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  });
  closeSync(full);
  return { code: status, err: stderr };
}

describe('the program', () => {
  it('ends with 2 where the call is wrong, and helps', async () => {
    const { code, out, err } = await trousseau('srve');
    assert.deepEqual([code, out], [2, '']);
    assert.match(err, /there is no command srve \(did you mean serve\?\)/);
    assert.equal((await trousseau()).code, 2);
  });

  it('knows what other programs do: what was wrong, -V, completions, and standard input', async (t) => {
    const lint = await trousseau('config', 'lint', 'f');
    assert.equal(lint.code, 2);
    assert.match(lint.err, /\blint\b/);
    const [short, long] = [await trousseau('-V'), await trousseau('--version')];
    assert.deepEqual([short.code, short.out], [0, long.out]);
    const completion = await trousseau('completion', 'bash');
    assert.equal(completion.code, 0);
    assert.match(completion.out, /complete .*trousseau/);
    const dir = temporaryFolder(t);
    const config = readFileSync(writeConfig(dir, { providers: await localProviders(dir) }));
    const argv = ['config', 'check', '--text-only', '-'];
    const checked = spawnSync(PROGRAM, argv, { env: environment(), input: config });
    assert.equal(checked.status, 0, String(checked.stderr));
  });

  it('tells its version, and the runtime that is really inside', async () => {
    const { code, out } = await trousseau('version', '--output', 'json');
    assert.equal(code, 0);
    const facts = JSON.parse(out) as Readonly<Record<string, string>>;
    assert.match(facts['version'] ?? '', /^\d+\.\d+\.\d+/);
    assert.match(facts['node'] ?? '', /^\d+\.\d+\.\d+$/);
  });
});

type Listed = {
  readonly versions: readonly { readonly version: number; readonly current: boolean }[];
};

describe('eight processes that rotate one keyring at once', () => {
  it('lose no version: each that ended with 0 has its own in the file, the others say try again', async (t) => {
    const file = join(temporaryFolder(t), 'keyring.json');
    assert.equal((await trousseau('keyring', 'init', file)).code, 0);
    const ended = await Promise.all(
      Array.from({ length: 8 }, () => trousseau('keyring', 'rotate', file, '-o', 'json')),
    );
    const made: number[] = [];
    for (const { code, out, err } of ended) {
      if (code === 0) made.push((JSON.parse(out) as Listed).versions.at(-1)?.version ?? 0);
      else assert.match(err, /is at work there: try again when it has ended/);
    }
    assert.ok(made.length > 0);
    const { versions } = JSON.parse(
      (await trousseau('keyring', 'list', file, '-o', 'json')).out,
    ) as Listed;
    assert.deepEqual(
      versions.map(({ version }) => version),
      [1, ...made.sort((a, b) => a - b)],
    );
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dirname(file)), ['keyring.json']);
  });
});

describe('a keyring command that cannot write a byte', () => {
  for (const command of ['init', 'rotate'] as const)
    it(`leaves nothing behind that would stop the next one: ${command}`, async (t) => {
      const file = join(temporaryFolder(t), 'keyring.json');
      if (command === 'rotate') assert.equal((await trousseau('keyring', 'init', file)).code, 0);
      const before = readdirSync(dirname(file));
      // A file may not grow, as on a full disk.
      const script = 'ulimit -f 0; exec "$0" "$@"';
      const argv = ['-c', script, PROGRAM, 'keyring', command, file];
      const { status, stderr } = spawnSync('/bin/sh', argv, {
        env: environment(),
        encoding: 'utf8',
      });
      assert.equal(status, 1);
      assert.match(stderr, /cannot write .*: EFBIG/);
      assert.deepEqual(readdirSync(dirname(file)), before);
      assert.equal((await trousseau('keyring', command, file)).code, 0);
    });
});

describe('a running daemon', () => {
  it('notices the rotation by another process, and still decrypts what is older', async (t) => {
    const dir = temporaryFolder(t);
    const config = { providers: await localProviders(dir), health: { watchInterval: '1s' } };
    await using plugin = await startPlugin({ dir, config });
    await plugin.ready();
    const { v1, v2 } = plugin.client;
    const before = await v2.encrypt(SEED, 'before');
    assert.equal((await trousseau('keyring', 'rotate', join(dir, 'keyring.json'))).code, 0);
    await waitUntil(
      'the new key_id',
      NOTICE_MS,
      async () => (await v2.status()).key_id !== before.key_id,
    );
    const after = await v2.encrypt(SEED, 'after');
    assert.equal(after.key_id, (await v2.status()).key_id);
    assert.match(Buffer.from((await v1.encrypt(SEED)).cipher).toString('latin1'), /^local:v2:/);
    for (const sealed of [before, after]) {
      const { plaintext } = await v2.decrypt({ ...sealed, uid: 'again' });
      assert.deepEqual(Buffer.from(plaintext), SEED);
    }
  });

  it('takes a configuration that config check has printed', async (t) => {
    const dir = temporaryFolder(t);
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    const printed = await trousseau('config', 'check', file);
    assert.equal(printed.code, 0);
    writeFileSync(file, printed.out);
    assert.equal((await trousseau('config', 'check', file)).out, printed.out);
  });
});
