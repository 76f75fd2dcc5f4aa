/** A Vault of three nodes, all of them configured, and what callers see when nodes fail. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Plugin } from '../servers/plugin.ts';
import type { ToxicWay, Toxiproxy } from '../servers/toxiproxy.ts';
import { startToxiproxy } from '../servers/toxiproxy.ts';
import type { Vault } from '../servers/vault.ts';
import { startVaultCluster, type VaultCluster } from '../servers/vault-cluster.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { prepareTransit, testFolder } from '../vault/vault-under-test.ts';
import { inUse } from './in-use.ts';
import { type Load, startLoad, startOnVault, summary, told } from './load.ts';
import { type Probe, probeVault } from './probe.ts';

/** How much later than Vault itself the plugin may answer again. */
const BEHIND_VAULT_MS = 1_000;
/** A request may just be under way to the one that hangs; each address has a second of it. */
const HANGING_MS = 1_000;
const RECOVERY_MS = 60_000;
const BLACKHOLE_MS = 6_000;

const folder = testFolder();
let cluster: VaultCluster;
let proxy: Toxiproxy;
let ways: readonly ToxicWay[];
let plugin: Plugin;
let probe: Probe;

const loaded = (): Promise<Load> =>
  startLoad({ socket: plugin.socket, decrypts: 16, encrypts: 2, pauseMs: 10 });

/** Ends the load and says what happened; whatever it was, no answer may have been wrong. */
async function report(t: TestContext, load: Load, since: number): Promise<void> {
  const verified = await load.stop();
  const { served, failures, failed, longestMs } = summary(load.calls, since);
  t.diagnostic(
    `callers saw: ${served} served, ${failed} failed, the longest ${Math.round(longestMs)} ms, ${load.wrong()} wrong; ${verified} encrypted and read again; told: ${told(failures)}`,
  );
  assert.equal(load.wrong(), 0);
  assert.ok(verified > 0 && served > 0);
  // Trouble that passes must be told as such: kube-apiserver and people take INTERNAL for a defect.
  assert.ok(failures.every((failure) => failure.includes('14 UNAVAILABLE')));
}

/** Vault's own first answer after `since`, and the plugin's; both begun after it. */
async function comesBack(
  t: TestContext,
  load: Load,
  since: number,
  withinMs = BEHIND_VAULT_MS,
): Promise<void> {
  const vaultBack = await probe.firstGood(since, RECOVERY_MS);
  await waitUntil('the plugin answers', RECOVERY_MS, () => load.firstGood(since) !== undefined);
  const pluginBack = load.firstGood(since) ?? Number.POSITIVE_INFINITY;
  const behind = pluginBack - vaultBack;
  t.diagnostic(
    `Vault answers again ${Math.round(vaultBack - since)} ms after it; the plugin ${Math.round(behind)} ms after Vault; failed until then: ${summary(load.calls, since).failed}`,
  );
  assert.ok(behind <= withinMs, `${behind} ms behind Vault`);
}

/** Whether each thread of a process is stopped: state T of proc_pid_stat(5). */
function stands(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').includes(') T '),
  );
}

async function unsealAgain(...nodes: readonly Vault[]): Promise<void> {
  for (const node of nodes) await cluster.unseal(node);
}

describe('a Vault of three nodes', { timeout: 420_000 }, () => {
  before(async () => {
    const dir = folder.sub('vault');
    cluster = await startVaultCluster({ release: 'newest', dir });
    proxy = await startToxiproxy(dir);
    ways = await Promise.all(cluster.nodes.map(({ port }) => proxy.way(port)));
    const admin = await cluster.admin();
    await prepareTransit(admin);
    const addresses = ways.map(({ address }) => `http://${address}`);
    plugin = await startOnVault(admin, addresses, folder.sub('plugin'));
    await plugin.ready();
    probe = await probeVault(admin, cluster.nodes);
  });
  after(async () => {
    await plugin?.stop();
    await proxy?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    folder.remove();
  });

  it('loses its active node under load: the plugin answers within a second of the next one', async (t) => {
    await using load = await loaded();
    await sleep(1_000);
    const active = await cluster.active();
    assert.ok(active);
    const since = performance.now();
    await active.stop('kill');
    t.diagnostic('the world: SIGKILL of the active node');
    await comesBack(t, load, since);
    await sleep(2_000);
    await active.start();
    await cluster.unseal(active);
    await cluster.settled();
    await report(t, load, since);
  });

  it('is sealed, all nodes, and unsealed again: the plugin answers within a second of Vault', async (t) => {
    await using load = await loaded();
    await sleep(1_000);
    await cluster.sealAll();
    const since = performance.now();
    t.diagnostic('the world: all nodes sealed for 10 s, then unsealed one after the other');
    await sleep(10_000);
    assert.equal(load.firstGood(since), undefined, 'a sealed Vault answers nobody');
    const back = comesBack(t, load, since);
    await unsealAgain(...cluster.nodes);
    await back;
    await cluster.settled();
    await report(t, load, since);
  });

  for (const which of ['asked now', 'asked since then', 'not asked']) {
    it(`has an address swallowed by the network, the one ${which}: no call fails`, async (t) => {
      await using load = await loaded();
      await sleep(1_000);
      const used = inUse(plugin, ways);
      const i = which === 'not asked' ? (used + 1) % ways.length : used;
      const way = ways[i];
      assert.ok(way);
      const since = performance.now();
      for (const stream of ['upstream', 'downstream'] as const) {
        await way.add({ type: 'timeout', stream, attributes: { timeout: 0 } });
      }
      const was = (await cluster.active()) === cluster.nodes[i] ? 'the active node' : 'a standby';
      t.diagnostic(`the world: nothing passes to or from ${was} for 6 s, connections stay open`);
      await sleep(BLACKHOLE_MS);
      await way.cure();
      await sleep(1_000);
      await report(t, load, since);
      assert.deepEqual(summary(load.calls).failures, []);
      assert.equal(inUse(plugin, ways) === used, which === 'not asked');
    });
  }

  it('has a standby that stands still: no call fails', async (t) => {
    await using load = await loaded();
    await sleep(1_000);
    const [standby] = await cluster.standbys();
    assert.ok(standby);
    const since = performance.now();
    standby.process.pause();
    t.diagnostic('the world: SIGSTOP of a standby, SIGCONT 6 s later');
    await sleep(BLACKHOLE_MS);
    standby.process.resume();
    await cluster.settled();
    await report(t, load, since);
    assert.deepEqual(summary(load.calls).failures, []);
  });

  it('has an active node that stands still: the plugin answers within two seconds of the next one', async (t) => {
    await using load = await loaded();
    await sleep(1_000);
    const active = await cluster.active();
    assert.ok(active);
    active.process.pause();
    // Until then it may still answer a probe.
    await waitUntil('all of its threads stand still', 2_000, () => stands(active.process.pid));
    const since = performance.now();
    t.diagnostic('the world: SIGSTOP of the active node, SIGCONT once another is active');
    await comesBack(t, load, since, BEHIND_VAULT_MS + HANGING_MS);
    active.process.resume();
    await cluster.settled();
    await report(t, load, since);
  });
});
