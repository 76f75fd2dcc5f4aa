import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { startLoad } from './load.ts';
import { askAdmin, localProviders, writeConfig } from './program.ts';
import { holdSocket } from './socket-holder.ts';

const READY_MS = 20_000;
const CALLERS = 64;

describe('a socket that was handed over', () => {
  it('is served, stays at a stop, and keeps every call for the next process', async (t) => {
    const dir = temporaryFolder(t);
    const socket = join(dir, 'kms.sock');
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    const log = join(dir, 'plugin.log');
    await using holder = await holdSocket(socket, file, log);
    const { ino } = lstatSync(socket);
    // Before there is a process: these connections wait in the backlog.
    const load = startLoad(socket, CALLERS);
    for (let process_ = 1; process_ <= 3; process_ += 1) {
      const { pid, exit } = await holder.start('kms');
      await load.more(CALLERS * 4);
      const environ = readFileSync(`/proc/${pid}/environ`, 'latin1');
      assert.match(environ, /LISTEN_FDS=1/, 'it was started with the variables');
      assert.match(readlinkSync(`/proc/${pid}/fd/3`), /^socket:/);
      process.kill(pid, 'SIGTERM');
      assert.equal(await exit(), 0);
      assert.equal(lstatSync(socket).ino, ino);
      assert.equal(existsSync(join(dir, 'admin.sock')), false, 'what it bound itself is gone');
    }
    const last = await holder.start('trousseau.socket');
    assert.ok((await load.stop()) > CALLERS * 12);
    process.kill(last.pid, 'SIGTERM');
    assert.equal(await last.exit(), 0);
    const listening = linesOf(log).filter(({ msg }) => msg === 'listening');
    assert.deepEqual(
      listening.map(({ fd, name }) => [fd, name]),
      [
        [3, 'kms'],
        [3, 'kms'],
        [3, 'kms'],
        [3, 'trousseau.socket'],
      ],
    );
  });

  it('is served whatever its path is, and nothing is made at listen.socket', async (t) => {
    const dir = temporaryFolder(t);
    const socket = join(dir, 'elsewhere.sock');
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    await using holder = await holdSocket(socket, file, join(dir, 'plugin.log'));
    const { pid, exit } = await holder.start('unknown');
    const client = createKmsClient(socket);
    t.after(() => client.close());
    await waitUntil('a good Status', READY_MS, async () => {
      return (await client.v2.status()).healthz === 'ok';
    });
    assert.equal(existsSync(join(dir, 'kms.sock')), false);
    process.kill(pid, 'SIGTERM');
    assert.equal(await exit(), 0);
    assert.ok(existsSync(socket));
  });

  it('is left alone where it is called notify', async (t) => {
    const dir = temporaryFolder(t);
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    const handed = join(dir, 'handed.sock');
    await using holder = await holdSocket(handed, file, join(dir, 'plugin.log'));
    const { pid, exit } = await holder.start('notify');
    const client = createKmsClient(join(dir, 'kms.sock'));
    t.after(() => client.close());
    await waitUntil('a good Status', READY_MS, async () => {
      return (await client.v2.status()).healthz === 'ok';
    });
    process.kill(pid, 'SIGTERM');
    assert.equal(await exit(), 0);
    assert.deepEqual([existsSync(handed), existsSync(join(dir, 'kms.sock'))], [true, false]);
  });

  it('is served beside a second one, which the log names', async (t) => {
    const dir = temporaryFolder(t);
    const socket = join(dir, 'handed.sock');
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    const log = join(dir, 'plugin.log');
    await using holder = await holdSocket(socket, file, log);
    const { pid, exit } = await holder.start('kms', 'kms');
    const client = createKmsClient(socket);
    t.after(() => client.close());
    await waitUntil('a good Status', READY_MS, async () => {
      return (await client.v2.status()).healthz === 'ok';
    });
    process.kill(pid, 'SIGTERM');
    assert.equal(await exit(), 0);
    const said = linesOf(log).filter(({ why }) => String(why).includes('get no answer'));
    assert.deepEqual(
      said.map(({ level, msg, why }) => [
        level,
        msg,
        String(why).includes(`: fd 4 ("kms", "${socket}");`),
      ]),
      [['warn', 'the socket', true]],
    );
  });

  it('ends the process with 1 and a sentence where it is TCP', async (t) => {
    const dir = temporaryFolder(t);
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    const log = join(dir, 'plugin.log');
    await using holder = await holdSocket({ host: '127.0.0.1', port: 0 }, file, log);
    const { exit } = await holder.start('kms');
    assert.equal(await exit(), 1);
    const [last] = linesOf(log).slice(-1);
    assert.equal(last?.['msg'], 'cannot start');
    assert.match(String(last?.['why']), /fd 3 \("kms"\) is not a unix socket: use ListenStream=/);
  });
});

/** Root can give a file to anybody; another user sees what the tests of rights have for that. */
const asRoot = process.getuid?.() === 0;

describe('a socket that was handed over and that others can use or replace', () => {
  for (const [what, at, mode, prepare, said] of [
    ['has mode 0666', 'kms.sock', 0o666, nothing, /everybody \(mode 0666\): set SocketMode=0660/],
    ['has mode 0604', 'kms.sock', 0o604, nothing, /everybody \(mode 0604\): set SocketMode=/],
    ['has no path', 'abstract', 0o600, nothing, /abstract socket .* set ListenStream=/],
    [
      'is in a directory that everybody may write to',
      'open/kms.sock',
      0o600,
      (dir: string) => chmodSync(join(dir, 'open'), 0o777),
      /open can be written by others: .*DirectoryMode=/,
    ],
    [
      'is below a directory that everybody may write to',
      'open/run/kms.sock',
      0o600,
      (dir: string) => chmodSync(join(dir, 'open'), 0o777),
      /open, above the socket's, can be written by others/,
    ],
    [
      'was removed',
      'kms.sock',
      0o600,
      (dir: string) => rmSync(join(dir, 'kms.sock')),
      /no socket at .*kms\.sock: systemctl restart trousseau\.socket/,
    ],
    ...(asRoot
      ? ([
          [
            'belongs to another user',
            'kms.sock',
            0o600,
            (dir: string) => chownSync(join(dir, 'kms.sock'), 65_534, -1),
            /belongs to another user \(uid 65534\): set SocketUser=/,
          ],
          [
            'is in the directory of another user',
            'open/kms.sock',
            0o600,
            (dir: string) => chownSync(join(dir, 'open'), 65_534, -1),
            /open belongs to another user \(uid 65534\)/,
          ],
        ] as const)
      : []),
  ] as const) {
    it(`is refused where it ${what}, with what to change in the unit`, async (t) => {
      const dir = temporaryFolder(t);
      mkdirSync(join(dir, 'open/run'), { recursive: true });
      const file = writeConfig(dir, { providers: await localProviders(dir) });
      const log = join(dir, 'plugin.log');
      const place = at === 'abstract' ? `\0${dir}` : join(dir, at);
      await using holder = await holdSocket(place, file, log, { mode });
      prepare(dir);
      const { exit } = await holder.start('kms');
      assert.equal(await exit(), 1);
      const [last] = linesOf(log).slice(-1);
      assert.equal(last?.['msg'], 'cannot start');
      assert.match(String(last?.['why']), said);
    });
  }
});

describe('a socket that was handed over and whose path is removed while it is served', () => {
  it('is missed: in the log, and in /readyz with what to do', async (t) => {
    const dir = temporaryFolder(t);
    const socket = join(dir, 'handed.sock');
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    const log = join(dir, 'plugin.log');
    await using holder = await holdSocket(socket, file, log);
    const { pid, exit } = await holder.start('kms');
    const admin = join(dir, 'admin.sock');
    await waitUntil(
      'readiness',
      READY_MS,
      async () => (await askAdmin(admin, '/readyz')).status === 200,
    );
    rmSync(socket);
    await waitUntil(
      'the loss',
      READY_MS,
      async () => (await askAdmin(admin, '/readyz')).status === 503,
    );
    const { body } = await askAdmin(admin, '/readyz');
    const why = `the path ${socket} of the inherited socket was removed or replaced: systemctl restart trousseau.socket`;
    assert.deepEqual(body['socket'], { reachable: false, why });
    assert.equal((await askAdmin(admin, '/livez')).status, 200);
    const lines = linesOf(log).filter(({ level }) => level === 'error');
    assert.deepEqual(
      lines.map(({ msg, why: said }) => [msg, said]),
      [['clients cannot reach this process by the socket', why]],
    );
    process.kill(pid, 'SIGTERM');
    assert.equal(await exit(), 0);
  });
});

function nothing(): void {
  // The socket is as it was bound.
}

function linesOf(logFile: string): readonly Readonly<Record<string, unknown>>[] {
  return readFileSync(logFile, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}
