/** Stopped and started again under load, the socket held by whoever started it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type HeldPlugin, holdSocket, type SocketHolder } from '../daemon/socket-holder.ts';
import { startKubernetesClient } from '../servers/kms-client.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import {
  POLICY,
  prepareTransit,
  secretFile,
  testFolder,
  vaultConfig,
} from '../vault/vault-under-test.ts';
import { startLoad, summary, told } from './load.ts';

const ROUNDS = 20;
const CALLERS = 64;
const OBJECTS = 2_000;
const SERVED_BETWEEN = 500;
const ROUND_MS = 20_000;

const folder = testFolder();
let vault: DevVault;
let config: Readonly<Record<string, unknown>>;

type Activated = AsyncDisposable & { readonly socket: string; again(): Promise<void> };

/** A plugin that is handed the socket of a holder, which stands for systemd. */
async function startActivated(dir: string): Promise<Activated> {
  const socket = join(dir, 'kms.sock');
  const whole = {
    apiVersion: 'trousseau.io/v1',
    kind: 'KMSPluginConfiguration',
    listen: { socket },
    admin: {},
    ...config,
  };
  const file = secretFile(dir, 'config.yaml', JSON.stringify(whole)); // JSON is YAML
  const holder: SocketHolder = await holdSocket(socket, file, join(dir, 'plugin.log'));
  let running: HeldPlugin = await holder.start('kms');
  return {
    socket,
    /** SIGTERM, and the next process once there is none any more. */
    async again() {
      process.kill(running.pid, 'SIGTERM');
      assert.equal(await running.ended, 0, 'it ended cleanly');
      running = await holder.start('kms');
    },
    [Symbol.asyncDispose]: () => holder[Symbol.asyncDispose](),
  };
}

describe('a plugin with socket activation', { timeout: 300_000 }, () => {
  before(async () => {
    vault = await startDevVault({ release: 'newest', dir: folder.sub('vault') });
    await prepareTransit(vault.admin);
    const token = await vault.admin.createToken({ policies: [POLICY], period: '1h' });
    const tokenFile = secretFile(folder.path, 'token', token);
    config = vaultConfig(vault.address, { token: { tokenFile } });
  });
  after(async () => {
    await vault?.stop();
    folder.remove();
  });

  it(`is started again ${ROUNDS} times under ${CALLERS} concurrent calls: no call is lost`, async (t) => {
    await using plugin = await startActivated(folder.sub('node'));
    await using load = await startLoad({
      socket: plugin.socket,
      decrypts: CALLERS - 8,
      encrypts: 8,
      pauseMs: 5,
    });
    for (let round = 0; round < ROUNDS; round += 1) {
      const before = load.calls.length;
      await waitUntil(
        'calls are served',
        ROUND_MS,
        () => load.calls.length > before + SERVED_BETWEEN,
      );
      await plugin.again();
    }
    const verified = await load.stop();
    const { served, failures, longestMs } = summary(load.calls);
    t.diagnostic(`the world: ${ROUNDS} times SIGTERM and the next process`);
    t.diagnostic(
      `callers saw: ${served} served, ${failures.length} failed, the longest ${Math.round(longestMs)} ms, ${load.wrong()} wrong (${verified} encrypted and read again); told: ${told(failures)}`,
    );
    assert.equal(load.wrong(), 0);
    assert.deepEqual(failures, []);
  });

  it(`is started again ${ROUNDS} times under ${CALLERS} calls of Kubernetes' own client: no call is lost`, async (t) => {
    const dir = folder.sub('go');
    await using plugin = await startActivated(dir);
    await using client = await startKubernetesClient({
      release: '1.36',
      dir,
      socket: plugin.socket,
    });
    const service = { through: 'service', api: 'v2', workers: CALLERS } as const;
    const written = await client.write({ ...service, count: OBJECTS, size: 32 });
    assert.equal(written.errors, 0, written.firstError);
    let rounds = 0;
    const total = { calls: 0, maxMs: 0 };
    const reading = (async (): Promise<void> => {
      while (rounds < ROUNDS) {
        const read = await client.read(service);
        assert.deepEqual([read.errors, read.mismatches, read.firstError], [0, 0, '']);
        total.calls += read.count;
        total.maxMs = Math.max(total.maxMs, read.maxMs);
      }
    })();
    const failed = reading.then(
      () => false,
      () => true,
    );
    for (; rounds < ROUNDS; rounds += 1) {
      const before = total.calls;
      const lost = await Promise.race([
        failed,
        waitUntil('calls are served', ROUND_MS, () => total.calls > before).then(() => false),
      ]);
      if (lost) break;
      await plugin.again();
    }
    await reading;
    t.diagnostic(
      `callers saw: ${total.calls} served, none failed, the longest ${Math.round(total.maxMs)} ms, none wrong`,
    );
  });
});
