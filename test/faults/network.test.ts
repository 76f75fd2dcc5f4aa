/** One Vault behind a bad network, under a steady load of calls with a second each. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Plugin } from '../servers/plugin.ts';
import { startToxiproxy, type Toxic, type ToxicWay, type Toxiproxy } from '../servers/toxiproxy.ts';
import { type DevVault, startDevVault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { prepareTransit, testFolder } from '../vault/vault-under-test.ts';
import { hostIsGone } from './host-is-gone.ts';
import { startLoad, startOnVault, summary, told } from './load.ts';

const DEADLINE_MS = 1_000;
const LATE_MS = 100;
const BACK_WITHIN_MS = 2_000;
const BAD_MS = 5_000;
const MORE_FILES = 32;
const MORE_MEMORY_MIB = 24;

const folder = testFolder();
let vault: DevVault;
let proxy: Toxiproxy;
let way: ToxicWay;
let plugin: Plugin;
let atFirst: Footprint;

type Footprint = { readonly files: number; readonly memoryMiB: number };

/** What the process holds: open files, and memory that is its own. */
function footprint(): Footprint {
  const proc = `/proc/${plugin.process.pid}`;
  const kB = /^Anonymous:\s+(\d+) kB$/m.exec(readFileSync(`${proc}/smaps_rollup`, 'utf8'))?.[1];
  return { files: readdirSync(`${proc}/fd`).length, memoryMiB: Number(kB) / 1024 };
}

/** Of the calls that the daemon has logged after so many lines, the longest in milliseconds. */
function longestLogged(from: number): number {
  const calls = plugin
    .log()
    .slice(from)
    .filter(({ msg }) => msg === 'kms call');
  return calls.reduce((most, { ms }) => Math.max(most, Number(ms)), 0);
}

type Trouble = {
  readonly name: string;
  /** What becomes of the calls while it lasts; `some` where either is right. */
  readonly served: 'all' | 'some' | 'none';
  readonly begin: () => Promise<void>;
  readonly end: () => Promise<void>;
};

const toxics = (name: string, served: Trouble['served'], ...list: readonly Toxic[]): Trouble => ({
  name,
  served,
  begin: async () => {
    for (const toxic of list) await way.add(toxic);
  },
  end: () => way.cure(),
});

const both = (toxic: Toxic): readonly Toxic[] => [
  { ...toxic, stream: 'upstream' },
  { ...toxic, stream: 'downstream' },
];

const gone = hostIsGone(folder.path);
const troubles: readonly Trouble[] = [
  toxics('is slow and uneven, 100 ms and up to 80 more or less', 'all', {
    type: 'latency',
    attributes: { latency: 100, jitter: 80 },
  }),
  toxics('takes longer than the deadline, 1.5 s', 'none', {
    type: 'latency',
    attributes: { latency: 1_500, jitter: 300 },
  }),
  toxics('resets each connection at once', 'none', {
    type: 'reset_peer',
    attributes: { timeout: 0 },
  }),
  toxics('resets each connection after 200 ms', 'some', {
    type: 'reset_peer',
    attributes: { timeout: 200 },
  }),
  toxics('takes the requests and swallows the answers (half-open)', 'none', {
    type: 'timeout',
    attributes: { timeout: 0 },
  }),
  toxics(
    'swallows everything (blackhole)',
    'none',
    ...both({ type: 'timeout', attributes: { timeout: 0 } }),
  ),
  toxics('closes slowly', 'all', ...both({ type: 'slow_close', attributes: { delay: 1_000 } })),
  toxics('carries 10 kB/s', 'some', ...both({ type: 'bandwidth', attributes: { rate: 10 } })),
  {
    name: 'refuses connections',
    served: 'none',
    begin: () => way.disable(),
    end: () => way.enable(),
  },
  {
    name: 'drops what asks for a connection',
    served: 'none',
    begin: () => gone.begin(way),
    end: () => gone.end(way),
  },
];

async function through(t: TestContext, { served, begin, end }: Trouble): Promise<void> {
  const lines = plugin.log().length;
  await using load = await startLoad({
    socket: plugin.socket,
    decrypts: 16,
    encrypts: 2,
    pauseMs: 20,
    deadlineMs: DEADLINE_MS,
  });
  await sleep(1_000);
  await begin();
  const bad = performance.now();
  await sleep(BAD_MS);
  const worst = footprint();
  const ending = performance.now(); // some are served before the cure has been told to be complete
  await end();
  const cured = performance.now();
  await waitUntil('a good call', 30_000, () => load.firstGood(cured) !== undefined);
  const backMs = (load.firstGood(cured) ?? Number.POSITIVE_INFINITY) - cured;
  await sleep(1_000);
  const verified = await load.stop();
  const whole = load.calls.filter(({ began, ended }) => began >= bad && ended < ending);
  const meanwhile = summary(whole);
  const { failed, failures, longestMs } = summary(load.calls);
  const logged = longestLogged(lines);
  const now = footprint();
  t.diagnostic(
    `callers saw: ${meanwhile.served} served in the trouble, ${failed} failed in all, ${load.wrong()} wrong (${verified} encrypted and read again); first good call ${Math.round(backMs)} ms after the cure; told: ${told(failures)}`,
  );
  t.diagnostic(
    `the longest call: ${Math.round(logged)} ms as the daemon logs, ${Math.round(longestMs)} ms as the caller sees (whose own delay was ${Math.round(load.ownDelayMs())} ms); files ${atFirst.files}, in the trouble ${worst.files}, now ${now.files}; MiB ${atFirst.memoryMiB.toFixed(1)}, ${worst.memoryMiB.toFixed(1)}, ${now.memoryMiB.toFixed(1)}`,
  );
  assert.equal(load.wrong(), 0);
  if (served === 'all') assert.deepEqual(failures, []);
  if (served === 'none') assert.equal(meanwhile.served, 0, 'the trouble was none');
  assert.ok(backMs <= BACK_WITHIN_MS, `${backMs} ms after the cure`);
  assert.ok(logged <= DEADLINE_MS + LATE_MS, `${logged} ms as logged`);
  assert.ok(longestMs <= DEADLINE_MS + LATE_MS + load.ownDelayMs(), `${longestMs} ms as seen`);
  for (const { files, memoryMiB } of [worst, now]) {
    assert.ok(files <= atFirst.files + MORE_FILES, `${files} open files`);
    assert.ok(memoryMiB <= atFirst.memoryMiB + MORE_MEMORY_MIB, `${memoryMiB} MiB`);
  }
}

describe('the network between plugin and Vault', { timeout: 420_000 }, () => {
  before(async () => {
    const dir = folder.sub('vault');
    vault = await startDevVault({ release: 'newest', dir });
    await prepareTransit(vault.admin);
    proxy = await startToxiproxy(dir);
    way = await proxy.way(vault.port);
    plugin = await startOnVault(vault.admin, [`http://${way.address}`], folder.sub('plugin'));
    await plugin.ready();
    await using load = await startLoad({
      socket: plugin.socket,
      decrypts: 16,
      encrypts: 2,
      pauseMs: 20,
    });
    await sleep(3_000);
    await load.stop();
    assert.equal(load.wrong(), 0);
    atFirst = footprint();
  });
  after(async () => {
    await plugin?.stop();
    await proxy?.[Symbol.asyncDispose]();
    await vault?.stop();
    folder.remove();
  });

  for (const trouble of troubles) {
    it(`${trouble.name}: no call outlives its deadline, and all is well 2 s after the cure`, (t) =>
      through(t, trouble));
  }
});
