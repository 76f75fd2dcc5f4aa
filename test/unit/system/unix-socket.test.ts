import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { systemClock } from '../../../src/system/clock.ts';
import type { SocketRefusal } from '../../../src/system/socket-rights.ts';
import {
  type ServedSocket,
  type SocketOptions,
  serveOnSocket,
} from '../../../src/system/unix-socket.ts';
import { createDrivenClock, type DrivenClock } from '../driven-clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { answering, answerOf, leaveStaleSocket } from './sockets-under-test.ts';

const CHECK_MS = 2_000;

type Serving = {
  readonly socket: ServedSocket;
  readonly clock: DrivenClock;
  /** What was said of the path, in order. */
  readonly said: (string | undefined)[];
  /** Moves on to the next check, and resolves when so much has been said. */
  check(count: number): Promise<void>;
};

function options(path: string, more: Partial<SocketOptions> = {}): SocketOptions {
  const clock = createDrivenClock();
  const events = { changed: () => undefined, failed: () => undefined };
  return { path, mode: 0o600, group: undefined, shared: false, clock, ...events, ...more };
}

/** Serves until the test ends; every connection gets the word. */
async function serve(
  t: TestContext,
  path: string,
  word = 'served',
  more: Partial<SocketOptions> = {},
): Promise<Serving> {
  const clock = createDrivenClock();
  const said: (string | undefined)[] = [];
  let heard = (): void => undefined;
  const changed = (why: string | undefined): void => {
    said.push(why);
    heard();
  };
  const socket = await serveOnSocket(answering(word), options(path, { clock, changed, ...more }));
  assert.ok(!('problem' in socket), 'problem' in socket ? socket.problem : '');
  t.after(() => socket.close());
  const check = async (count: number): Promise<void> => {
    await clock.advance(CHECK_MS);
    while (said.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      heard = resolve;
      await promise;
    }
  };
  return { socket, clock, said, check };
}

async function refused(path: string, more: Partial<SocketOptions> = {}): Promise<string> {
  const served: ServedSocket | SocketRefusal = await serveOnSocket(
    createServer,
    options(path, more),
  );
  assert.ok('problem' in served);
  return served.problem;
}

const FOLDERS = [
  ['the disk', (t: TestContext) => temporaryFolder(t)],
  ['memory', (t: TestContext) => temporaryFolder(t, '/dev/shm')],
] as const;

describe('listening on a unix socket', () => {
  for (const mode of [0o600, 0o660]) {
    it(`gives the socket mode ${mode.toString(8)} whatever the umask is, and removes all of it at the end`, async (t) => {
      const folder = temporaryFolder(t);
      const path = join(folder, 'kms.sock');
      const umask = process.umask(0);
      t.after(() => process.umask(umask));
      const { socket } = await serve(t, path, 'served', { mode });
      assert.equal(lstatSync(path).mode & 0o777, mode);
      assert.equal(process.umask(), 0);
      await socket.close();
      assert.deepEqual(readdirSync(folder), []);
    });
  }

  it('makes a missing directory, for nobody but its owner and group', async (t) => {
    const directory = join(temporaryFolder(t), 'run');
    const umask = process.umask(0o077);
    t.after(() => process.umask(umask));
    await serve(t, join(directory, 'kms.sock'));
    assert.equal(lstatSync(directory).mode & 0o777, 0o750);
  });

  it('makes no more than the last part of the path, and says what to make first', async (t) => {
    const directory = join(temporaryFolder(t), 'not/there');
    assert.equal(
      await refused(join(directory, 'kms.sock')),
      `cannot create directory ${directory} for the socket: ENOENT: the directory above it does not exist: make it first`,
    );
  });

  it('gives the group a directory that it makes, so that a member can use the socket', async (t) => {
    // Root can give it to any group, another user to its own.
    const asRoot = process.getuid?.() === 0;
    const gid = asRoot ? 4_711 : (process.getgid?.() ?? 0);
    const folder = temporaryFolder(t);
    chmodSync(folder, 0o755);
    const path = join(folder, 'run', 'kms.sock');
    const group = String(gid);
    const { socket } = await serve(t, path, 'served', { mode: 0o660, group });
    assert.deepEqual(socket.warnings, []);
    assert.deepEqual([lstatSync(join(folder, 'run')).gid, lstatSync(path).gid], [gid, gid]);
    if (!asRoot) return;
    for (const [groups, code] of [
      ['--groups=4711', 0],
      ['--clear-groups', 1],
    ] as const) {
      // Writing is what connect(2) asks the path for.
      const as = ['--reuid=65534', '--regid=65534', groups, '/bin/sh', '-c', 'test -w "$0"', path];
      assert.equal(spawnSync('setpriv', as).status, code, groups);
    }
  });

  it('takes a directory of trusted containers where that is configured, as an emptyDir of a pod', async (t) => {
    const gid = process.getuid?.() === 0 ? 4_711 : (process.getgid?.() ?? 0);
    const volume = join(temporaryFolder(t), 'volume');
    mkdirSync(volume);
    // With fsGroup the kubelet gives it the group, and new files inherit it.
    chownSync(volume, -1, gid);
    chmodSync(volume, 0o2777);
    for (const path of [join(volume, 'kms.sock'), join(volume, 'sub', 'kms.sock')]) {
      assert.match(await refused(path), /listen\.sharedDirectory: true/);
      const more = { mode: 0o660, group: String(gid), shared: true };
      const { socket } = await serve(t, path, 'served', more);
      assert.equal(await answerOf(path), 'served');
      assert.equal(lstatSync(path).gid, gid);
      assert.deepEqual(
        socket.warnings.filter((why) => why.includes(volume)),
        [],
      );
    }
  });

  for (const [where, folderOf] of FOLDERS) {
    it(`takes the place of a stale socket, and of what its process has left beside it, on ${where}`, async (t) => {
      const folder = folderOf(t);
      const path = join(folder, 'kms.sock');
      for (const name of ['kms.sock', '.kms.sock.0123abcd', '.kms.sock.0123abcdn'])
        leaveStaleSocket(join(folder, name));
      await serve(t, path);
      assert.equal(await answerOf(path), 'served');
      assert.equal(readdirSync(folder).length, 2, 'the path, and the name that was bound');
    });
  }

  it('touches no socket on which somebody listens, whoever made it', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    const foreign = answering('foreign')();
    await new Promise<void>((resolve) => foreign.listen(path, resolve));
    t.after(() => foreign.close());
    assert.match(await refused(path), /another process listens on .*: stop it first/);
    assert.equal(await answerOf(path), 'foreign');
  });

  it('leaves a regular file as it is', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    writeFileSync(path, 'precious');
    assert.match(await refused(path), /exists and is not a socket: remove it/);
    assert.equal(readFileSync(path, 'utf8'), 'precious');
  });

  it('follows no symbolic link, neither for the socket nor for its directory', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'kms.sock');
    symlinkSync(join(folder, 'elsewhere'), path);
    assert.match(await refused(path), /is a symbolic link/);
    mkdirSync(join(folder, 'real'));
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    assert.match(
      await refused(join(folder, 'link', 'kms.sock')),
      /is not a directory \(links are not followed\)/,
    );
    assert.deepEqual(readdirSync(join(folder, 'real')), []);
  });

  it('says which group is missing', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    assert.match(
      await refused(path, { mode: 0o660, group: 'no-such-group' }),
      /group no-such-group .* is not in \/etc\/group/,
    );
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
      await serve(t, path, 'served', { mode: 0o660, group });
      assert.equal(lstatSync(path).gid, gid);
    }
  });
});

describe('two that serve one path', () => {
  for (const [where, folderOf] of FOLDERS) {
    it(`are one at most, whatever was there before, on ${where}`, async (t) => {
      const folder = folderOf(t);
      const path = join(folder, 'kms.sock');
      for (const before of ['nothing', 'a stale socket'] as const) {
        if (before === 'a stale socket') leaveStaleSocket(path);
        const words = ['a', 'b', 'c', 'd'];
        const clock = systemClock;
        const all = await Promise.all(
          words.map((word) => serveOnSocket(answering(word), options(path, { clock }))),
        );
        const won = words.filter((_, i) => !('problem' in (all[i] ?? {})));
        assert.equal(won.length, 1, before);
        assert.equal(await answerOf(path), won[0]);
        for (const served of all) if (!('problem' in served)) await served.close();
        assert.deepEqual(readdirSync(folder), []);
      }
    });
  }

  it('make a directory again that is removed while they begin, and end with nothing thrown', async (t) => {
    const directory = join(temporaryFolder(t), 'run');
    const path = join(directory, 'kms.sock');
    for (let round = 0; round < 20; round += 1) {
      const serving = serveOnSocket(answering('served'), options(path, { clock: systemClock }));
      for (let turn = 0; turn < round % 4; turn += 1) await Promise.resolve();
      rmSync(directory, { recursive: true, force: true });
      const served = await serving;
      assert.ok(!('problem' in served), 'problem' in served ? served.problem : '');
      assert.equal(await answerOf(path), 'served');
      await served.close();
    }
  });

  it('are one also while the path of the first is removed', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    await serve(t, path, 'first');
    rmSync(path);
    const clock = createDrivenClock();
    const refusal = refused(path, { clock });
    let isOver = false;
    void refusal.finally(() => {
      isOver = true;
    });
    while (!isOver) await clock.advance(100);
    assert.match(await refusal, /another process is about to listen on .*, or stops just now/);
    assert.equal(existsSync(path), false);
  });
});

describe('a path that is lost while it is served', () => {
  it('is put back where it was removed, and that is said', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    const { check, said, socket } = await serve(t, path);
    rmSync(path);
    await check(2);
    assert.deepEqual(said, [`${path} was removed or replaced`, undefined]);
    assert.equal(socket.lost(), undefined);
    assert.equal(await answerOf(path), 'served');
  });

  for (const [what, lose] of [
    ['all of its directory was emptied', (folder: string) => empty(folder)],
    ['its directory was removed', (folder: string) => rmSync(folder, { recursive: true })],
    [
      'its directory was replaced',
      (folder: string) => {
        renameSync(folder, `${folder}.old`);
        mkdirSync(folder, { mode: 0o750 });
      },
    ],
    [
      'a stale socket took its place',
      (folder: string) => {
        empty(folder);
        leaveStaleSocket(join(folder, 'kms.sock'));
      },
    ],
  ] as const) {
    it(`is made again where ${what}`, async (t) => {
      const folder = join(temporaryFolder(t), 'run');
      const path = join(folder, 'kms.sock');
      const { check, said, socket } = await serve(t, path);
      lose(folder);
      await check(2);
      assert.deepEqual(said, [`${path} was removed or replaced`, undefined]);
      assert.equal(await answerOf(path), 'served');
      assert.equal(await answerOf(socket.own()), 'served');
      await socket.close();
      assert.deepEqual(readdirSync(folder), []);
    });
  }

  it('stays with another process that has taken it, also when the first one stops', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'kms.sock');
    const first = await serve(t, path, 'first');
    empty(folder);
    const second = await serve(t, path, 'second');
    await first.check(1);
    assert.match(first.socket.lost() ?? '', /another process listens on .*: stop it first/);
    assert.equal(second.socket.lost(), undefined);
    await first.socket.close();
    assert.equal(await answerOf(path), 'second');
    await second.check(0);
    assert.equal(second.socket.lost(), undefined);
  });

  it('is taken back as soon as the other process has stopped', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'kms.sock');
    const first = await serve(t, path, 'first');
    empty(folder);
    const second = await serve(t, path, 'second');
    await first.check(1);
    await second.socket.close();
    await first.check(2);
    assert.equal(first.socket.lost(), undefined);
    assert.equal(await answerOf(path), 'first');
  });

  it('stays a file that somebody has put there', async (t) => {
    const path = join(temporaryFolder(t), 'kms.sock');
    const { check, socket } = await serve(t, path);
    rmSync(path);
    writeFileSync(path, 'precious');
    await check(1);
    assert.match(socket.lost() ?? '', /exists and is not a socket/);
    await socket.close();
    assert.equal(readFileSync(path, 'utf8'), 'precious');
  });
});

/** As `rm -rf DIRECTORY/{*,.*}` does. */
function empty(folder: string): void {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
}
