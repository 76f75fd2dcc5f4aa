import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { listenOnSocket } from '../../../src/system/unix-socket.ts';
import { temporaryFolder } from '../temporary-folder.ts';

function serverFor(t: TestContext): Server {
  const server = createServer((socket) => {
    // Whoever only looks whether somebody listens goes away before it is served.
    socket.on('error', () => socket.destroy());
    socket.end('served');
  });
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return server;
}

function read(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    connect(path)
      .on('data', (data) => {
        text += data.toString();
      })
      .on('end', () => resolve(text))
      .on('error', reject);
  });
}

const options = (path: string, mode = 0o600) => ({ path, mode, group: undefined });

/** Leaves the socket of a process that was killed: bound, and nobody listens. */
function leaveStaleSocket(path: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  assert.ok(lstatSync(path).isSocket());
}

describe('listening on a unix socket', () => {
  for (const mode of [0o600, 0o660]) {
    it(`gives the socket mode ${mode.toString(8)} whatever the umask is, and removes it at the end`, async (t) => {
      const path = join(temporaryFolder(t), 'kms.sock');
      const server = createServer();
      const umask = process.umask(0);
      t.after(() => process.umask(umask));
      assert.equal(await listenOnSocket(server, options(path, mode)), undefined);
      assert.equal(lstatSync(path).mode & 0o777, mode);
      assert.equal(process.umask(), 0);
      await new Promise((resolve) => server.close(resolve));
      assert.equal(existsSync(path), false);
    });
  }

  it('makes a missing directory, for nobody but its owner and group', async (t) => {
    const directory = join(temporaryFolder(t), 'run');
    assert.equal(
      await listenOnSocket(serverFor(t), options(join(directory, 'kms.sock'))),
      undefined,
    );
    assert.equal(lstatSync(directory).mode & 0o027, 0);
  });

  it('takes the place of a stale socket', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    leaveStaleSocket(path);
    assert.equal(await listenOnSocket(serverFor(t), options(path)), undefined);
    assert.equal(await read(path), 'served');
  });

  it('leaves a socket alone on which somebody listens', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    assert.equal(await listenOnSocket(serverFor(t), options(path)), undefined);
    const refused = await listenOnSocket(createServer(), options(path));
    assert.match(refused?.problem ?? '', /another process listens on .*: stop it first/);
    assert.equal(await read(path), 'served');
  });

  it('leaves a regular file alone', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    writeFileSync(path, 'precious');
    const refused = await listenOnSocket(createServer(), options(path));
    assert.match(refused?.problem ?? '', /exists and is not a socket: remove it/);
    assert.equal(readFileSync(path, 'utf8'), 'precious');
  });

  it('follows no symbolic link, neither for the socket nor for its directory', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'kms.sock');
    symlinkSync(join(folder, 'elsewhere'), path);
    assert.match(
      (await listenOnSocket(createServer(), options(path)))?.problem ?? '',
      /is a symbolic link/,
    );
    mkdirSync(join(folder, 'real'));
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    const linked = await listenOnSocket(createServer(), options(join(folder, 'link', 'kms.sock')));
    assert.match(linked?.problem ?? '', /is not a directory \(links are not followed\)/);
  });

  for (const mode of [0o770, 0o777, 0o1777]) {
    it(`refuses a directory with mode ${mode.toString(8)}, where others could put a socket of their own`, async (t) => {
      const directory = join(temporaryFolder(t), 'open');
      mkdirSync(directory);
      chmodSync(directory, mode);
      const refused = await listenOnSocket(createServer(), options(join(directory, 'kms.sock')));
      assert.match(refused?.problem ?? '', /can be written by others: chmod 0750/);
    });
  }

  it('says which group is missing', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    const refused = await listenOnSocket(createServer(), {
      path,
      mode: 0o660,
      group: 'no-such-group',
    });
    assert.match(refused?.problem ?? '', /group no-such-group .* is not in \/etc\/group/);
    assert.equal(existsSync(path), false);
  });

  it('gives the socket to the group by its name or number', async (t) => {
    const gid = process.getgid?.() ?? 0;
    const name = readFileSync('/etc/group', 'utf8')
      .split('\n')
      .find((line) => line.split(':')[2] === String(gid))
      ?.split(':')[0];
    for (const group of [String(gid), name ?? String(gid)]) {
      const path = join(temporaryFolder(t), 'kms.sock');
      assert.equal(await listenOnSocket(serverFor(t), { path, mode: 0o660, group }), undefined);
      assert.equal(lstatSync(path).gid, gid);
    }
  });
});
