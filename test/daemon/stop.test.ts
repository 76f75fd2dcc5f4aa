import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { createKmsClient, type KmsClient } from '../../src/kms/client.ts';
import { encodeEncryptRequest, encodeStatusRequest } from '../../src/kms/codec/v2.ts';
import {
  createHeaderWriter,
  lastData,
  OPENING,
  openConnection,
  prefixed,
  type RawConnection,
} from '../fuzz/raw-connection.ts';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { type FakeVault, startFakeVault } from './fake-vault.ts';
import { localProviders, vaultProviders } from './program.ts';

const CALLS = 64;
const STOP_LIMIT_MS = 5_000;
const UNAVAILABLE = 14;
const SEED = Buffer.alloc(32, 0x5e);

/** A plugin that is ready, with a keyring of its own. */
async function pluginOnKeyring(t: TestContext): Promise<Plugin> {
  const dir = temporaryFolder(t);
  return await readyPlugin(dir, await localProviders(dir));
}

type PluginOnVault = AsyncDisposable & { readonly vault: FakeVault; readonly plugin: Plugin };

/** A plugin that is ready, with a Vault whose answers a test holds back. */
async function pluginOnVault(t: TestContext): Promise<PluginOnVault> {
  await using stack = new AsyncDisposableStack();
  const vault = stack.use(await startFakeVault());
  const dir = temporaryFolder(t);
  const plugin = stack.use(await readyPlugin(dir, vaultProviders(dir, 'hvs.x', [vault.address])));
  const both = stack.move();
  return { vault, plugin, [Symbol.asyncDispose]: () => both.disposeAsync() };
}

async function readyPlugin(dir: string, providers: readonly object[]): Promise<Plugin> {
  await using stack = new AsyncDisposableStack();
  const plugin = stack.use(await startPlugin({ dir, config: { providers } }));
  await plugin.ready();
  stack.move();
  return plugin;
}

/** Clients that are connected, since each has had an answer. */
async function connected(t: TestContext, socket: string, count: number): Promise<KmsClient[]> {
  const clients = Array.from({ length: count }, () => createKmsClient(socket, 10_000));
  t.after(() => {
    for (const client of clients) client.close();
  });
  await Promise.all(clients.map(({ v2 }) => v2.status()));
  return clients;
}

/** A connection without a call. */
async function opened(t: TestContext, path: string): Promise<RawConnection> {
  const connection = await openConnection(path);
  t.after(() => connection.socket.destroy());
  connection.socket.write(OPENING);
  return connection;
}

/** The first call of a connection, whole. */
function firstCall(method: 'Encrypt' | 'Status', message: Uint8Array): Buffer {
  const headers = createHeaderWriter().headers(1, `/v2.KeyManagementService/${method}`);
  return Buffer.concat([headers, lastData(1, prefixed(message))]);
}

async function ciphertextsOf({ v1, v2 }: KmsClient) {
  const [first, second] = await Promise.all([v1.encrypt(SEED), v2.encrypt(SEED, 'before')]);
  return { v1: first.cipher, v2: second };
}

/** Begins CALLS calls, of all that take time in turn, shared out among the clients. */
function begin(
  clients: readonly KmsClient[],
  old: Awaited<ReturnType<typeof ciphertextsOf>>,
): readonly Promise<Uint8Array>[] {
  return Array.from({ length: CALLS }, (_, i) => {
    const client = clients[i % clients.length];
    assert.ok(client !== undefined);
    const { v1, v2 } = client;
    switch (i % 4) {
      case 0:
        return v1.encrypt(SEED).then(({ cipher }) => cipher);
      case 1:
        return v1.decrypt(old.v1).then(({ plain }) => plain);
      case 2:
        return v2.encrypt(SEED, `uid-${i}`).then(({ ciphertext }) => ciphertext);
      default:
        return v2.decrypt({ ...old.v2, uid: `uid-${i}` }).then(({ plaintext }) => plaintext);
    }
  });
}

async function assertAllAnswered(calls: readonly Promise<Uint8Array>[]): Promise<void> {
  const outcomes = await Promise.allSettled(calls);
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.status === 'rejected') throw outcome.reason;
    if (i % 2 === 1) assert.deepEqual(Buffer.from(outcome.value), SEED);
    else assert.ok(outcome.value.length > SEED.length);
  }
}

async function assertCleanEnd(plugin: Plugin, began: number): Promise<void> {
  assert.equal(await plugin.process.exited, 'code 0');
  assert.ok(Date.now() - began < STOP_LIMIT_MS);
  assert.equal(existsSync(plugin.socket), false);
  assert.equal(existsSync(plugin.socket.replace('kms', 'admin')), false);
}

describe('SIGTERM', () => {
  for (const [how, count] of [
    ['over one connection', 1],
    [`over ${CALLS} connections`, CALLS],
  ] as const) {
    it(`answers ${CALLS} calls that wait for Vault, v1 and v2 ${how}, and then ends`, async (t) => {
      await using under = await pluginOnVault(t);
      const { vault, plugin } = under;
      const clients = await connected(t, plugin.socket, count);
      const old = await ciphertextsOf(plugin.client);
      const waiting = vault.hold();
      const calls = begin(clients, old);
      await waiting;
      const began = Date.now();
      process.kill(plugin.process.pid, 'SIGTERM');
      await waitUntil('the stop', STOP_LIMIT_MS, () =>
        plugin.log().some(({ msg }) => msg === 'stopping'),
      );
      // Vault takes another second, which is longer than clients need to go elsewhere.
      setTimeout(vault.release, 1_000);
      await assertAllAnswered(calls);
      await assertCleanEnd(plugin, began);
    });

    it(`answers ${CALLS} calls of which one has just been answered, ${how}`, async (t) => {
      await using plugin = await pluginOnKeyring(t);
      const clients = await connected(t, plugin.socket, count);
      const calls = begin(clients, await ciphertextsOf(plugin.client));
      // Now all are on the wire: each was written before the first answer could be read.
      await Promise.race(calls);
      const began = Date.now();
      process.kill(plugin.process.pid, 'SIGTERM');
      await assertAllAnswered(calls);
      await assertCleanEnd(plugin, began);
    });
  }

  it('answers the first call of a client that was connected, though all others have left by then', async (t) => {
    await using under = await pluginOnVault(t);
    const { vault, plugin } = under;
    const [client] = await connected(t, plugin.socket, 1);
    const [late, idle] = await Promise.all([opened(t, plugin.socket), opened(t, plugin.socket)]);
    idle.socket.write(firstCall('Status', encodeStatusRequest({})));
    await idle.until(() => idle.ends.has(1));
    const waiting = vault.hold();
    const call = client?.v1.encrypt(SEED);
    await waiting;
    process.kill(plugin.process.pid, 'SIGTERM');
    await idle.closed; // a client without a call in progress has been sent elsewhere
    const message = encodeEncryptRequest({ plaintext: SEED, uid: 'late' });
    late.socket.write(firstCall('Encrypt', message));
    const asked = () => vault.asked.filter(({ path }) => path.includes('/encrypt/')).length;
    const before = asked();
    await waitUntil('the late call at Vault', STOP_LIMIT_MS, async () => asked() > before);
    vault.release();
    void vault.hold(); // for the proof of the late call's ciphertext
    await call;
    setTimeout(vault.release, 500);
    await late.closed;
    assert.deepEqual([late.ends.get(1), late.goaway()], ['grpc-status 0', 0]);
    assert.equal(await plugin.process.exited, 'code 0');
  });

  it('under calls that never stop does none of them without answering it', async (t) => {
    await using plugin = await pluginOnKeyring(t);
    const clients = await connected(t, plugin.socket, 16);
    const answered = new Set<string>();
    const refused = new Set<string>();
    const warm = Promise.withResolvers<void>();
    let stopping = false;
    const work = async ({ v2 }: KmsClient, worker: number): Promise<void> => {
      for (let i = 0; ; i += 1) {
        const uid = `${worker}-${i}`;
        try {
          await v2.encrypt(SEED, uid);
          answered.add(uid);
          if (answered.size > 100) warm.resolve();
        } catch (error) {
          assert.equal((error as { code?: number }).code, UNAVAILABLE, String(error));
          assert.ok(stopping, 'a call failed before the stop');
          refused.add(uid);
          return;
        }
      }
    };
    const workers = clients.map(work);
    await warm.promise;
    stopping = true;
    const began = Date.now();
    process.kill(plugin.process.pid, 'SIGTERM');
    await Promise.all(workers);
    await assertCleanEnd(plugin, began);
    const done = plugin.log().filter(({ msg, uid }) => msg === 'kms call' && uid !== undefined);
    assert.ok(done.length >= answered.size);
    assert.deepEqual(
      done.filter(({ uid }) => refused.has(String(uid))),
      [],
    );
  });

  it('ends in time though Vault never answers, and says so to the caller', async (t) => {
    await using under = await pluginOnVault(t);
    const { vault, plugin } = under;
    const [client] = await connected(t, plugin.socket, 1);
    assert.ok(client !== undefined);
    const waiting = vault.hold();
    const call = client.v2.encrypt(SEED, 'held').then(
      () => 'answered',
      () => 'failed',
    );
    await waiting;
    const began = Date.now();
    process.kill(plugin.process.pid, 'SIGTERM');
    assert.equal(await call, 'failed');
    assert.ok(Date.now() - began > STOP_LIMIT_MS - 2_000, 'it was cut off before its time');
    assert.match(await plugin.process.exited, /^code [01]$/);
    assert.ok(Date.now() - began < STOP_LIMIT_MS + 1_000);
    assert.equal(existsSync(plugin.socket), false);
  });

  for (const [what, bytes] of [
    ['has sent nothing', ''],
    ['has sent no call yet', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0'],
  ] as const) {
    it(`does not wait for a client that is connected and ${what}`, async (t) => {
      await using plugin = await pluginOnKeyring(t);
      const socket = connect(plugin.socket);
      t.after(() => socket.destroy());
      socket.on('error', () => socket.destroy()).write(Buffer.from(bytes, 'latin1'));
      await once(socket, 'data'); // the server's SETTINGS
      const began = Date.now();
      process.kill(plugin.process.pid, 'SIGTERM');
      await assertCleanEnd(plugin, began);
    });
  }

  it('twice ends at once, with calls cut off and code 1', async (t) => {
    await using under = await pluginOnVault(t);
    const { vault, plugin } = under;
    const waiting = vault.hold();
    const call = plugin.client.v2.encrypt(SEED, 'held').catch(() => undefined);
    await waiting;
    process.kill(plugin.process.pid, 'SIGTERM');
    await waitUntil('the stop', STOP_LIMIT_MS, () =>
      plugin.log().some(({ msg }) => msg === 'stopping'),
    );
    // Signals within the debounce time count as the first one.
    await waitUntil('the end', STOP_LIMIT_MS, () => {
      if (!plugin.process.isRunning()) return true;
      process.kill(plugin.process.pid, 'SIGINT');
      return false;
    });
    assert.equal(await plugin.process.exited, 'code 1');
    await call;
  });
});

it('SIGHUP ends nothing', async (t) => {
  await using plugin = await pluginOnKeyring(t);
  process.kill(plugin.process.pid, 'SIGHUP');
  await waitUntil('the reload', STOP_LIMIT_MS, () =>
    plugin.log().some(({ msg }) => msg === 'configuration reloaded'),
  );
  assert.equal((await plugin.client.v2.status()).healthz, 'ok');
});
