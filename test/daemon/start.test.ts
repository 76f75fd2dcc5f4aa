import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createKmsClient } from '../../src/kms/client.ts';
import { SAMPLE_UID } from '../../src/kms/v2.ts';
import { freePort } from '../servers/free-port.ts';
import {
  type Plugin,
  type PluginLine,
  PROGRAM,
  startAgain,
  startPlugin,
} from '../servers/plugin.ts';
import { type RunningProcess, startServer } from '../servers/process.ts';
import { inTime, waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { startFakeVault } from './fake-vault.ts';
import { startFlood } from './flood.ts';
import { askAdmin, localProviders, trousseau, vaultProviders, writeConfig } from './program.ts';

const UNAVAILABLE = 14;
const SEED = Buffer.alloc(32, 0x5e);
const READY_MS = 20_000;
/** Root's files can be given to any group. */
const GROUP = 64_321;
const LINE_MS = 20_000;
const END_MS = 20_000;

describe('a daemon whose provider cannot be reached', () => {
  for (const [how, adminOf] of [
    ['a unix socket', async (dir: string) => ({ socket: join(dir, 'admin.sock') })],
    ['a loopback address', async () => ({ address: `127.0.0.1:${await freePort()}` })],
  ] as const) {
    it(`answers at once and says why, with the admin endpoint on ${how}, and recovers by itself`, async (t) => {
      const dir = temporaryFolder(t);
      const port = await freePort();
      const address = `http://127.0.0.1:${port}`;
      const providers = vaultProviders(dir, 'hvs.x', [address]);
      const admin: { socket?: string; address?: string } = await adminOf(dir);
      const place = admin.socket ?? admin.address ?? '';
      await using plugin = await startPlugin({ dir, config: { providers, admin } });
      assert.ok(lstatSync(plugin.socket).isSocket());
      await waitUntil('the reason', READY_MS, async () =>
        plugin.client.v2.status().then(
          () => assert.fail('Status was good'),
          ({ code, details }: { code: number; details: string }) => {
            assert.equal(code, UNAVAILABLE);
            return details.includes(address);
          },
        ),
      );
      assert.deepEqual(await askAdmin(place, '/livez'), { status: 200, body: { status: 'ok' } });
      const { status, body } = await askAdmin(place, '/readyz');
      assert.equal(status, 503);
      assert.deepEqual([body['status'], body['state']], ['not ready', 'starting']);
      assert.match(String(body['why']), new RegExp(`cannot reach ${address}`));
      if (admin.socket !== undefined) assert.equal(lstatSync(place).mode & 0o777, 0o600);

      await using _vault = await startFakeVault({ port });
      await plugin.ready(READY_MS);
      const ready = await askAdmin(place, '/readyz?verbose');
      assert.deepEqual([ready.status, ready.body['status']], [200, 'ok']);
      assert.equal(ready.body['keyVersion'], 1);
    });
  }

  it('tells where the decrypt cache is on what it has for an outage, and nothing of it elsewhere', async (t) => {
    const seed = Buffer.alloc(32, 7);
    for (const [more, said] of [
      [{ decryptCache: {} }, { entries: 1, seeds: true }],
      [{}, undefined],
    ] as const) {
      const dir = temporaryFolder(t);
      const providers = await localProviders(dir);
      await using plugin = await startPlugin({ dir, config: { providers, ...more } });
      await plugin.ready();
      await plugin.client.v2.encrypt(seed, `${SAMPLE_UID}1`);
      await plugin.client.v2.encrypt(seed, 'uid');
      const { body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
      assert.deepEqual(body['decryptCache'], said);
    }
  });

  it('answers GET and HEAD alone, and nothing at other paths', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await localProviders(dir);
    await using _plugin = await startPlugin({ dir, config: { providers } });
    const place = join(dir, 'admin.sock');
    assert.equal((await askAdmin(place, '/livez', 'POST')).status, 405);
    assert.equal((await askAdmin(place, '/')).status, 404);
    assert.equal((await askAdmin(place, '/livez/../readyz')).status, 404);
  });
});

describe('a second daemon', () => {
  it('on the same socket refuses with code 1, and leaves the first one alone', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await localProviders(dir);
    await using plugin = await startPlugin({ dir, config: { providers } });
    await plugin.ready();
    const before = [plugin.socket, join(dir, 'admin.sock')].map((path) => lstatSync(path).ino);
    const { code, err } = await trousseau('serve', '--config', join(dir, 'config.yaml'));
    assert.equal(code, 1);
    assert.match(err, new RegExp(`another process listens on ${plugin.socket}: stop it first`));
    assert.deepEqual(
      [plugin.socket, join(dir, 'admin.sock')].map((path) => lstatSync(path).ino),
      before,
    );
    assert.equal((await plugin.client.v2.status()).healthz, 'ok');
  });
});

describe('a daemon that cannot have its admin endpoint', () => {
  it('serves without it while another one has its socket, says so, and gets it later', async (t) => {
    const [dir, other] = [temporaryFolder(t), temporaryFolder(t)];
    const providers = await localProviders(dir);
    const admin = { socket: join(dir, 'admin.sock') };
    await using first = await startPlugin({ dir, config: { providers, admin } });
    await first.ready();
    await using second = await startPlugin({ dir: other, config: { providers, admin } });
    await second.ready();
    const warned = await said(second, 'no admin endpoint: it is tried again');
    assert.match(String(warned['why']), /another process listens on .*admin\.sock: stop it first/);
    assert.equal((await askAdmin(admin.socket, '/readyz')).status, 200);
    await first.stop();
    await said(second, 'the admin endpoint answers');
    assert.equal((await askAdmin(admin.socket, '/readyz')).status, 200);
  });

  it('serves without it while its port is taken, says so, and gets it later', async (t) => {
    const dir = temporaryFolder(t);
    const taken = createServer();
    const listening = once(taken, 'listening');
    taken.listen(0, '127.0.0.1');
    await inTime('a port', END_MS, listening);
    const { port } = taken.address() as AddressInfo;
    const address = `127.0.0.1:${port}`;
    const config = { providers: await localProviders(dir), admin: { address } };
    await using plugin = await startPlugin({ dir, config });
    await plugin.ready();
    const warned = await said(plugin, 'no admin endpoint: it is tried again');
    assert.match(String(warned['why']), /cannot listen on admin\.address .*: EADDRINUSE/);
    const closed = once(taken, 'close');
    taken.close();
    await inTime('the end of what had the port', END_MS, closed);
    await said(plugin, 'the admin endpoint answers');
    assert.equal((await askAdmin(address, '/livez')).status, 200);
  });

  it('answers calls while any user of the machine floods its port', async (t) => {
    const dir = temporaryFolder(t);
    const address = `127.0.0.1:${await freePort()}`;
    const config = { providers: await localProviders(dir), admin: { address } };
    await using plugin = await startPlugin({ dir, config });
    await plugin.ready();
    const flood = startFlood(address);
    t.after(() => flood.stop());
    await flood.more(200);
    for (let i = 0; i < 50; i += 1) {
      const sealed = await plugin.client.v2.encrypt(SEED, `uid-${i}`);
      const { plaintext } = await plugin.client.v2.decrypt({ ...sealed, uid: `uid-${i}` });
      assert.deepEqual(Buffer.from(plaintext), SEED);
    }
    await flood.more(200);
    assert.equal((await askAdmin(address, '/livez')).status, 200);
  });
});

/** The first line with this message, as soon as it is there. */
async function said(plugin: Plugin, msg: string): Promise<PluginLine> {
  const find = () => plugin.log().find((line) => line.msg === msg);
  await waitUntil(`the line "${msg}"`, LINE_MS, async () => find() !== undefined);
  return find() ?? assert.fail();
}

describe('a daemon whose socket is removed', () => {
  it('puts it back, says so, and does not end', async (t) => {
    const dir = temporaryFolder(t);
    await using plugin = await startPlugin({
      dir,
      config: { providers: await localProviders(dir) },
    });
    await plugin.ready();
    rmSync(plugin.socket);
    await said(plugin, 'clients reach this process by the socket again');
    const lost = await said(plugin, 'clients cannot reach this process by the socket');
    assert.match(String(lost['why']), /kms\.sock was removed or replaced/);
    const client = createKmsClient(plugin.socket);
    t.after(() => client.close());
    assert.equal((await client.v2.status()).healthz, 'ok');
    assert.equal((await askAdmin(join(dir, 'admin.sock'), '/readyz')).status, 200);
  });

  it('takes nothing from another daemon that has taken its path, when it stops', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await localProviders(dir);
    const first = await startPlugin({ dir, config: { providers, admin: {} } });
    t.after(() => first.stop());
    await first.ready();
    for (const name of readdirSync(dir).filter((name) => name.includes('kms.sock')))
      rmSync(join(dir, name));
    await using second = await startAgain(dir);
    await second.ready();
    const lost = await said(first, 'clients cannot reach this process by the socket');
    assert.match(String(lost['why']), /another process listens on .*kms\.sock: stop it first/);
    await first.stop();
    const client = createKmsClient(second.socket);
    t.after(() => client.close());
    assert.equal((await client.v2.status()).healthz, 'ok');
  });
});

describe('the directory of a socket', () => {
  it('that the daemon makes is for the group of the socket to enter', async (t) => {
    const dir = temporaryFolder(t);
    const socket = join(dir, 'made/kms.sock');
    const listen = { socket, group: String(GROUP), mode: '0660' };
    const file = writeConfig(dir, { providers: await localProviders(dir), listen });
    const client = createKmsClient(socket);
    t.after(() => client.close());
    await using _running = await startServer(
      { program: PROGRAM, args: ['serve', '--config', file], logFile: join(dir, 'log') },
      READY_MS,
      async () => (await client.v2.status()).healthz === 'ok',
    );
    for (const path of [socket, join(dir, 'made')]) assert.equal(lstatSync(path).gid, GROUP, path);
    assert.equal(lstatSync(join(dir, 'made')).mode & 0o777, 0o750);
  });

  it('may be open to everybody where the configuration says that a pod shares it', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await localProviders(dir);
    const shared = join(dir, 'volume');
    mkdirSync(shared);
    chmodSync(shared, 0o777);
    const socket = join(shared, 'kms.sock');
    const client = createKmsClient(socket);
    t.after(() => client.close());
    const start = (listen: object): Promise<RunningProcess> =>
      startServer(
        {
          program: PROGRAM,
          args: ['serve', '--config', writeConfig(dir, { providers, admin: {}, listen })],
          logFile: join(dir, 'log'),
        },
        READY_MS,
        async () => (await client.v2.status()).healthz === 'ok',
      );
    await assert.rejects(start({ socket }), /can be written by others.*sharedDirectory/);
    await using _running = await start({ socket, sharedDirectory: true });
  });
});

describe('a daemon after one that was killed', () => {
  it('takes the place of the sockets that were left behind', async (t) => {
    const dir = temporaryFolder(t);
    const killed = await startPlugin({ dir, config: { providers: await localProviders(dir) } });
    await killed.ready();
    const sealed = await killed.client.v2.encrypt(SEED, 'before');
    await killed.process.kill();
    await killed.stop();
    assert.ok(lstatSync(killed.socket).isSocket());
    await using plugin = await startAgain(dir);
    await plugin.ready();
    const { plaintext } = await plugin.client.v2.decrypt({ ...sealed, uid: 'after' });
    assert.deepEqual(Buffer.from(plaintext), SEED);
  });

  it('never takes the place of a file', async (t) => {
    const dir = temporaryFolder(t);
    const file = writeConfig(dir, { providers: await localProviders(dir) });
    writeFileSync(join(dir, 'kms.sock'), 'precious');
    const { code, err } = await trousseau('serve', '--config', file);
    assert.equal(code, 1);
    assert.match(err, /kms\.sock exists and is not a socket: remove it, or name another path/);
  });
});
