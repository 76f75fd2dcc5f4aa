/**
 * What the shipped program opens, makes and runs in a tree of Debian, with a real Vault, is what the AppArmor
 * profile allows: recorded by strace, since not every kernel that runs the tests has AppArmor. That a kernel
 * enforces the profile is tried in test/field.
 */
import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { profileForFolder } from '../../scripts/packages/apparmor.ts';
import { createKmsClient } from '../../src/kms/client.ts';
import { type RunningProcess, startProcess } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { type Access, accessesOf, TRACED } from './accesses.ts';
import { type Profile, parseProfile } from './apparmor-profile.ts';
import { executable, ROOT } from './executable.ts';
import { CONFIG, KEYRING, SOCKET } from './installation.ts';
import { inOwnNamespaces } from './own-namespaces.ts';
import { needTools } from './packages-built.ts';
import { debianTree, type Tree } from './packages-tree.ts';
import { needBuilt } from './servers-built.ts';
import { baseTree } from './trees.ts';
import { CA, ROLE_ID, startVaultOfNode, type VaultOfNode } from './vault-of-node.ts';

const PACKAGES = ['passwd', 'rpm', 'systemd'];
const LIMIT_MS = 60_000;
const CREDENTIALS = '/run/credentials/trousseau.service';
const TOKEN = '/etc/trousseau/token';
const PROFILE = readFileSync(join(ROOT, 'packaging/apparmor/trousseau'), 'utf8');
const ENV = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  STATE_DIRECTORY: dirname(KEYRING),
  CREDENTIALS_DIRECTORY: CREDENTIALS,
  NOTIFY_SOCKET: '/run/systemd/notify',
};
/** In a mount namespace of its own, with what a node has mounted. */
const TRACE = `set -e
mount -t proc proc "$0/proc"
mount --rbind /sys "$0/sys"
mount --rbind /dev "$0/dev"
record=$1
shift
exec strace --follow-forks --quiet=all --decode-fds=path --string-limit=256 \\
  --trace=${TRACED} --output="$record" chroot "$0" "$@"`;

if (await inOwnNamespaces(import.meta.filename, prepare)) declare();

function prepare(): void {
  needTools();
  needBuilt(['vault-newest']);
  baseTree({ suite: 'trixie', packages: PACKAGES });
}

type Traced = { readonly process: RunningProcess; readonly record: string };

function declare(): void {
  let dir: string;
  let vault: VaultOfNode;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'trousseau-test-'));
    // By name, so that the name service is asked too.
    vault = await startVaultOfNode(dir, 'localhost');
  });
  after(async () => {
    await vault.vault[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  test('the profile as it is read allows what it names, and nothing else', () => {
    const profile = parseProfile(PROFILE, dir);
    const cases: readonly (readonly [string, string, string])[] = [
      ['/etc/trousseau/deep/er', 'rw', 'w'],
      ['/var/lib/trousseau/keyring.json', 'rwk', ''],
      ['/run/trousseau/kms.sock', 'rwl', ''],
      ['/var/run/trousseau/kms.sock', 'w', ''],
      ['/run/credentials/trousseau-preflight-12.service/secret-id', 'r', ''],
      ['/run/credentials/other.service/secret-id', 'r', 'r'],
      ['/etc/shadow', 'r', 'r'],
      ['/proc/12/net/unix', 'r', ''],
      ['/proc/12/environ', 'r', 'r'],
      ['/usr/lib/x86_64-linux-gnu/libc.so.6', 'rm', ''],
      ['/usr/bin/dash', 'x', 'x'],
    ];
    for (const [path, wanted, lacking] of cases)
      assert.equal(profile.lacking(path, wanted), lacking, path);
    assert.equal(profile.allowsNetwork('inet', 'stream'), true);
    assert.equal(profile.allowsNetwork('packet', 'raw'), false);
  });

  test('the executable of the packages does nothing that the profile does not allow', async (t) => {
    const debian = debianTree(t, 'accesses', PACKAGES);
    cpSync(executable('x64'), debian.path('/usr/bin/trousseau'));
    const accesses = await everySituation(t, debian, '/usr/bin/trousseau');
    assert.deepEqual(denied(accesses, parseProfile(PROFILE, dir)), []);
    // That it was seen, in each of its situations.
    const paths = accesses.flatMap((access) => (access.kind === 'path' ? [access.path] : []));
    for (const path of [
      ...[CONFIG, CA, ROLE_ID, TOKEN, KEYRING, `${CREDENTIALS}/secret-id`, '/etc/group'],
      ...['/usr/bin/trousseau', '/usr/bin/systemd-notify', SOCKET, '/etc/nsswitch.conf'],
      '/var/lib/trousseau/announced-key.json',
    ])
      assert.ok(paths.includes(path), `${path} was not used`);
    // And that a rule which is missing is noticed.
    const without = PROFILE.replace('  /etc/trousseau/** r,\n', '');
    const files = [CA, CONFIG, ROLE_ID, TOKEN].map((path) => `${path} r`);
    assert.deepEqual(denied(accesses, parseProfile(without, dir)), files.sort());
  });

  test('nor does the program that make install lays, with the profile that it lays', async (t) => {
    const debian = debianTree(t, 'accesses-opt', PACKAGES);
    for (const name of ['trousseau', 'lib'])
      cpSync(join(ROOT, 'dist', name), debian.path(`/opt/trousseau/${name}`), { recursive: true });
    const accesses = await everySituation(t, debian, '/opt/trousseau/trousseau');
    const profile = parseProfile(profileForFolder(PROFILE, '/opt/trousseau'), dir);
    assert.deepEqual(denied(accesses, profile), []);
  });

  async function everySituation(
    t: TestContext,
    debian: Tree,
    program: string,
  ): Promise<readonly Access[]> {
    const records: string[] = [];
    const start = async (...argv: readonly string[]): Promise<Traced> => {
      const record = join(dir, `record-${records.length}-${program.split('/')[1]}`);
      records.push(record);
      const args = ['--mount', '/bin/sh', '-c', TRACE, debian.root, record, ...argv];
      const logFile = `${record}.log`;
      const process = await startProcess({ program: 'unshare', args, env: ENV, logFile });
      t.after(() => process.kill());
      return { process, record };
    };
    const ended = async (...argv: readonly string[]): Promise<void> => {
      const { process, record } = await start(...argv);
      assert.equal(await process.exited, 'code 0', readFileSync(`${record}.log`, 'utf8'));
    };
    await lay(debian, program);
    const serve = [program, 'serve', '--config', CONFIG];

    const first = await start(...serve);
    await calls(debian);
    writeFileSync(debian.path(CONFIG), `${config()}log: {level: debug}\n`);
    await ended(program, 'reload', '--config', CONFIG, '--pid', String(pidOf(first)));
    await ended(program, 'preflight', '--running', '--config', CONFIG);
    signal(first, 'SIGKILL');
    await first.process.exited;

    // With what a process that was killed has left.
    const second = await start(...serve);
    await calls(debian);
    signal(second, 'SIGTERM');
    await second.process.exited;

    rmSync(debian.path(SOCKET), { force: true });
    const env = Object.entries(ENV).map(([name, value]) => `--setenv=${name}=${value}`);
    const handOver = ['systemd-socket-activate', ...env, '--listen', SOCKET];
    const third = await start(...handOver, ...serve);
    // As the socket unit makes it; what stands for systemd here does not know SocketMode=.
    await waitUntil('a socket', LIMIT_MS, async () => existsSync(debian.path(SOCKET)));
    chmodSync(debian.path(SOCKET), 0o660);
    await calls(debian);
    signal(third, 'SIGTERM');
    await third.process.exited;

    return records.flatMap((record) => accessesOf(since(program, record), debian.root));
  }

  async function lay(debian: Tree, program: string): Promise<void> {
    for (const folder of ['/etc/trousseau', '/run/trousseau', '/run/systemd', CREDENTIALS])
      mkdirSync(debian.path(folder), { recursive: true });
    mkdirSync(debian.path(dirname(KEYRING)), { recursive: true, mode: 0o700 });
    const { role, caFile } = vault;
    const token = await vault.vault.admin.createToken({ policies: ['trousseau'] });
    const files: Readonly<Record<string, string>> = {
      [CA]: readFileSync(caFile, 'utf8'),
      [ROLE_ID]: role.roleId,
      [TOKEN]: token,
      [`${CREDENTIALS}/secret-id`]: role.secretId,
      [CONFIG]: config(),
      '/etc/hosts': '127.0.0.1 localhost\n',
      '/etc/nsswitch.conf': 'hosts: files dns\n',
    };
    for (const [path, text] of Object.entries(files))
      writeFileSync(debian.path(path), text, { mode: 0o600 });
    const made = debian.run(program, 'keyring', 'init', KEYRING);
    assert.equal(made.status, 0, made.output);
  }

  /** A login by AppRole with a credential, one with a token out of a file, and a keyring. */
  function config(): string {
    const second = vault.config('').split('providers:\n')[1] ?? '';
    const byToken = second
      .replace('name: vault', 'name: second')
      .replace('appRole: {}', `token: {tokenFile: ${TOKEN}}`);
    const identity = `roleIDFile: ${ROLE_ID}, secretIDFile: 'credential:secret-id'`;
    return `${vault.config(identity)}${byToken}  - name: spare
    local: {keyringFile: ${KEYRING}}
write: [vault]
listen: {group: root, mode: "0660"}
`;
  }
}

/** Of both versions of KMS; resolves when all were answered. */
async function calls(debian: Tree): Promise<void> {
  await waitUntil('answers on the socket', LIMIT_MS, async () => {
    const client = createKmsClient(debian.path(SOCKET), LIMIT_MS);
    try {
      if ((await client.v2.status()).healthz !== 'ok') return false;
      const plaintext = Buffer.from('plain');
      const { ciphertext, key_id } = await client.v2.encrypt(plaintext, '1');
      await client.v2.decrypt({ ciphertext, key_id, uid: '1', annotations: new Map() });
      return true;
    } finally {
      client.close();
    }
  });
}

function signal(traced: Traced, name: NodeJS.Signals): void {
  process.kill(pidOf(traced), name);
}

/** strace's only child is the program itself. */
function pidOf({ process: { pid } }: Traced): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  assert.match(children, /^\d+$/);
  return Number(children);
}

/** What chroot, and what hands over a socket, do before it is started, is not the program's. */
function since(program: string, record: string): string {
  const text = readFileSync(record, 'utf8');
  const at = text.indexOf(`execve("${program}"`);
  assert.ok(at >= 0, `${record}: it was not started`);
  return text.slice(text.lastIndexOf('\n', at) + 1);
}

/** Each as a line `path rights`, or `network family type`. */
function denied(accesses: readonly Access[], profile: Profile): readonly string[] {
  const lines = accesses.flatMap((access) => {
    if (access.kind === 'network') {
      const { family, type } = access;
      return profile.allowsNetwork(family, type) ? [] : [`network ${family} ${type}`];
    }
    const lacking = profile.lacking(access.path, access.rights);
    return lacking === '' ? [] : [`${access.path} ${lacking}`];
  });
  return [...new Set(lines)].sort();
}
