/** Two ways to one real Vault, of which the one in use goes bad. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Plugin } from '../servers/plugin.ts';
import { startToxiproxy, type Toxic, type ToxicWay, type Toxiproxy } from '../servers/toxiproxy.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { PLAIN, prepareTransit, testFolder } from '../vault/vault-under-test.ts';
import { hostIsGone } from './host-is-gone.ts';
import { inUse } from './in-use.ts';
import { startLoad, startOnVault, summary, told } from './load.ts';

/** Below the second after which another server is asked anyway. */
const SLOW_MS = 700;
/** More than the plugin must have seen to know what is slow. */
const SEEN = 40;
const BAD_MS = 5_000;

const folder = testFolder();
let vault: DevVault;
let proxy: Toxiproxy;

before(async () => {
  const dir = folder.sub('vault');
  vault = await startDevVault({ release: 'newest', dir });
  await prepareTransit(vault.admin);
  proxy = await startToxiproxy(dir);
});
after(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await vault?.stop();
  folder.remove();
});

type UnderTest = AsyncDisposable & { readonly plugin: Plugin; readonly ways: readonly ToxicWay[] };

async function pluginOnTwoWays(name: string): Promise<UnderTest> {
  const ways = [await proxy.way(vault.port), await proxy.way(vault.port)];
  const addresses = ways.map(({ address }) => `http://${address}`);
  const plugin = await startOnVault(vault.admin, addresses, folder.sub(name));
  await plugin.ready();
  return { plugin, ways, [Symbol.asyncDispose]: plugin.stop };
}

async function tookMs(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

describe('a way that has become slow', { timeout: 60_000 }, () => {
  it('delays no decrypt: the other one answers before it, and is used in the end', async (t) => {
    await using under = await pluginOnTwoWays('hedge');
    const { plugin, ways } = under;
    const { client } = plugin;
    const sealed = await client.v2.encrypt(PLAIN, 'hedge');
    const decrypt = async (): Promise<void> => {
      const { plaintext } = await client.v2.decrypt({ ...sealed, uid: 'hedge' });
      assert.ok(PLAIN.equals(plaintext));
    };
    for (let i = 0; i < SEEN; i += 1) await decrypt();
    await ways[0]?.add({ type: 'latency', attributes: { latency: SLOW_MS } });
    const encrypted = await tookMs(() => client.v1.encrypt(PLAIN));
    assert.equal(inUse(plugin, ways), 0, 'it is slow, not away');
    const decrypted = [await tookMs(decrypt), await tookMs(decrypt), await tookMs(decrypt)];
    t.diagnostic(`the world: each answer of the way in use comes ${SLOW_MS} ms late`);
    t.diagnostic(
      `callers saw: an encrypt after ${Math.round(encrypted)} ms, decrypts after ${decrypted.map(Math.round).join(', ')} ms`,
    );
    assert.ok(encrypted >= SLOW_MS, 'an encrypt is not asked for twice');
    for (const ms of decrypted) assert.ok(ms < SLOW_MS, `${ms} ms`);
    await waitUntil('the other way is used', 5_000, async () => {
      await decrypt();
      return inUse(plugin, ways) === 1;
    });
  });
});

type Trouble = {
  readonly name: string;
  readonly begin: (way: ToxicWay) => Promise<void>;
  readonly end: (way: ToxicWay) => Promise<void>;
};

const toxic = (name: string, added: Toxic): Trouble => ({
  name,
  begin: (way) => way.add(added),
  end: (way) => way.cure(),
});

const troubles: readonly Trouble[] = [
  toxic('takes 1.5 s', { type: 'latency', attributes: { latency: 1_500, jitter: 300 } }),
  toxic('resets each connection at once', { type: 'reset_peer', attributes: { timeout: 0 } }),
  toxic('swallows the answers', { type: 'timeout', attributes: { timeout: 0 } }),
  toxic('cuts each answer in the middle', { type: 'limit_data', attributes: { bytes: 200 } }),
  {
    name: 'refuses connections',
    begin: (way) => way.disable(),
    end: (way) => way.enable(),
  },
  { name: 'drops what asks for a connection', ...hostIsGone(folder.path) },
];

async function through(
  t: TestContext,
  { plugin, ways }: UnderTest,
  { begin, end }: Trouble,
): Promise<void> {
  await using load = await startLoad({
    socket: plugin.socket,
    decrypts: 16,
    encrypts: 2,
    pauseMs: 10,
  });
  await sleep(1_000);
  const used = inUse(plugin, ways);
  const way = ways[used];
  assert.ok(way);
  await begin(way);
  const bad = performance.now();
  await sleep(BAD_MS);
  const moved = inUse(plugin, ways) !== used;
  await end(way);
  await sleep(1_000);
  const verified = await load.stop();
  const { served, failed, failures, longestMs } = summary(load.calls, bad);
  t.diagnostic(
    `callers saw: ${served} served, ${failed} failed, the longest ${Math.round(longestMs)} ms, ${load.wrong()} wrong (${verified} encrypted and read again); told: ${told(failures)}`,
  );
  assert.equal(load.wrong(), 0);
  assert.deepEqual(failures, []);
  assert.ok(moved, 'the trouble was none');
}

describe('the way in use', { timeout: 180_000 }, () => {
  let under: UnderTest;
  before(async () => {
    under = await pluginOnTwoWays('load');
  });
  after(() => under?.[Symbol.asyncDispose]());

  for (const trouble of troubles) {
    it(`${trouble.name}: no call fails, the other way serves`, (t) => through(t, under, trouble));
  }
});
