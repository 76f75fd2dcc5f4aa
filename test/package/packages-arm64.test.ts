/** The package for arm64 in a tree of arm64, whose programs qemu runs. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { startServer } from '../servers/process.ts';
import { registerArm64 } from './arm64-programs.ts';
import { CONFIG, KEYRING, keyringConfig, SOCKET } from './installation.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import { needTools, realPackages } from './packages-built.ts';
import { debianTree, type Tree } from './packages-tree.ts';
import { baseTree, type TreeKind } from './trees.ts';

const VERSION = '3.1.0';
const KIND = {
  suite: 'trixie',
  packages: ['passwd', 'systemd'],
  architecture: 'arm64',
} as const satisfies TreeKind;
/** An emulated processor needs some seconds. */
const START_MS = 60_000;
const SEED = Buffer.from('0123456789abcdef0123456789abcdef');

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needTools();
  baseTree(KIND);
  realPackages(VERSION);
}

function declare(): void {
  test('the arm64 package installs in an arm64 tree, and its executable answers v1 and v2', async (t) => {
    using _programs = registerArm64();
    const debian = debianTree(t, 'arm64', KIND.packages, KIND);
    const file = realPackages(VERSION).file('deb', process.arch === 'arm64' ? 'native' : 'foreign');
    must(debian, 'dpkg', '--install', debian.bring(file));
    assert.equal(must(debian, 'dpkg', '--print-architecture').trim(), 'arm64');
    assert.match(must(debian, 'trousseau', 'version', '--output', 'json'), /"version":/);
    must(debian, 'install', '-d', '-o', 'trousseau', '-m', '0700', '/var/lib/trousseau');
    const asPlugin = ['--reuid=trousseau', '--regid=trousseau-kms', '--groups=trousseau'];
    must(debian, 'setpriv', ...asPlugin, 'trousseau', 'keyring', 'init', KEYRING);
    writeFileSync(debian.path(CONFIG), keyringConfig('info'));
    mkdirSync(debian.path('/run/trousseau'), { recursive: true });
    must(debian, 'chown', 'trousseau:trousseau-kms', '/run/trousseau');

    const logs = mkdtempSync(join(tmpdir(), 'trousseau-arm64-'));
    t.after(() => rmSync(logs, { recursive: true, force: true }));
    const { v1, v2, close } = createKmsClient(debian.path(SOCKET), START_MS);
    t.after(close);
    const serve = ['setpriv', ...asPlugin, 'trousseau', 'serve', '--config', CONFIG];
    await using _running = await startServer(
      { program: 'chroot', args: [debian.root, ...serve], logFile: join(logs, 'log') },
      START_MS,
      async () => (await v2.status()).healthz === 'ok',
    );
    assert.equal((await v1.version()).version, 'v1beta1');
    const { cipher } = await v1.encrypt(SEED);
    assert.deepEqual(Buffer.from((await v1.decrypt(cipher)).plain), SEED);
    const sealed = await v2.encrypt(SEED, 'arm64');
    assert.equal(sealed.key_id, (await v2.status()).key_id);
    const { plaintext } = await v2.decrypt({ ...sealed, uid: 'arm64' });
    assert.deepEqual(Buffer.from(plaintext), SEED);
  });
}

function must(tree: Tree, command: string, ...args: readonly string[]): string {
  const { status, output } = tree.run(command, ...args);
  assert.equal(status, 0, `${command}: ${output}`);
  return output;
}
