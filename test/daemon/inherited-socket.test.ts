import assert from 'node:assert/strict';
import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { startLoad } from './load.ts';
import { localProviders, writeConfig } from './program.ts';
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
      const { pid, ended } = await holder.start('kms');
      await load.more(CALLERS * 4);
      const environ = readFileSync(`/proc/${pid}/environ`, 'latin1');
      assert.match(environ, /LISTEN_FDS=1/, 'it was started with the variables');
      assert.match(readlinkSync(`/proc/${pid}/fd/3`), /^socket:/);
      process.kill(pid, 'SIGTERM');
      assert.equal(await ended, 0);
      assert.equal(lstatSync(socket).ino, ino);
      assert.equal(existsSync(join(dir, 'admin.sock')), false, 'what it bound itself is gone');
    }
    const last = await holder.start('trousseau.socket');
    assert.ok((await load.stop()) > CALLERS * 12);
    process.kill(last.pid, 'SIGTERM');
    assert.equal(await last.ended, 0);
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

  it('is served whatever its path and mode are, and listen.socket is left alone', async (t) => {
    const dir = temporaryFolder(t);
    const socket = join(dir, 'elsewhere.sock');
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    await using holder = await holdSocket(socket, file, join(dir, 'plugin.log'));
    const { pid, ended } = await holder.start('unknown');
    const client = createKmsClient(socket);
    t.after(() => client.close());
    await waitUntil('a good Status', READY_MS, async () => {
      return (await client.v2.status()).healthz === 'ok';
    });
    assert.equal(existsSync(join(dir, 'kms.sock')), false);
    process.kill(pid, 'SIGTERM');
    assert.equal(await ended, 0);
    assert.ok(existsSync(socket));
  });

  it('is left alone where it is called notify', async (t) => {
    const dir = temporaryFolder(t);
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    const handed = join(dir, 'handed.sock');
    await using holder = await holdSocket(handed, file, join(dir, 'plugin.log'));
    const { pid, ended } = await holder.start('notify');
    const client = createKmsClient(join(dir, 'kms.sock'));
    t.after(() => client.close());
    await waitUntil('a good Status', READY_MS, async () => {
      return (await client.v2.status()).healthz === 'ok';
    });
    process.kill(pid, 'SIGTERM');
    assert.equal(await ended, 0);
    assert.deepEqual([existsSync(handed), existsSync(join(dir, 'kms.sock'))], [true, false]);
  });

  it('ends the process with 1 and a sentence where it is TCP', async (t) => {
    const dir = temporaryFolder(t);
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    const log = join(dir, 'plugin.log');
    await using holder = await holdSocket({ host: '127.0.0.1', port: 0 }, file, log);
    const { ended } = await holder.start('kms');
    assert.equal(await ended, 1);
    const [last] = linesOf(log).slice(-1);
    assert.equal(last?.['msg'], 'cannot start');
    assert.match(String(last?.['why']), /fd 3 \("kms"\) is not a unix socket: use ListenStream=/);
  });
});

function linesOf(logFile: string): readonly Readonly<Record<string, unknown>>[] {
  return readFileSync(logFile, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}
