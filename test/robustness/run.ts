/** One run: starts the world, brings the faults while all nodes are called, and writes the history. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startToxiproxy } from '../servers/toxiproxy.ts';
import { startVaultCluster } from '../servers/vault-cluster.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { prepareTransit } from '../vault/vault-under-test.ts';
import { adminOf, bringFaults, type World } from './faults.ts';
import { type Kube, startKube } from './kube.ts';
import { createNode, type PluginNode } from './nodes.ts';
import { startProbes } from './probes.ts';
import { progressOf } from './progress.ts';
import { type Recorder, startRecorder } from './recorder.ts';
import { makeRole, type TokenLife, tokensOf } from './roles.ts';
import { scheduleOf } from './schedule.ts';
import { createStore } from './store.ts';
import { startTraffic, sweep } from './traffic.ts';

/** How long calls go on after the last fault before everything is read. */
const CALM_MS = 8_000;
const READY_MS = 60_000;
const PROGRESS_MS = 5_000;

/** Of the tokens of each node: the last logs in again and renews all the time. */
const LIVES: readonly TokenLife[] = [
  { token_period: '24h' },
  { token_period: '24h' },
  { token_ttl: '20s', token_max_ttl: '60s' },
];

export type RunOptions = {
  readonly seed: number;
  readonly minutes: number;
  /** Of the plugins. */
  readonly program: string;
  /** Where the history goes. */
  readonly file: string;
  readonly say: (line: string) => void;
};

/** Resolves with the history; rejects where the world itself cannot be started or brought back. */
export async function run(options: RunOptions): Promise<Recorder> {
  const { seed, minutes, program, file, say } = options;
  const dir = mkdtempSync(join(tmpdir(), 'trousseau-robustness-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(dir, { recursive: true, force: true }));
  const sub = (name: string): string => {
    mkdirSync(join(dir, name), { mode: 0o700 });
    return join(dir, name);
  };
  say('starting three Vault servers, three plugins and their kube-apiservers');
  const vaultDir = sub('vault');
  const cluster = stack.use(await startVaultCluster({ release: 'newest', dir: vaultDir }));
  const proxy = stack.use(await startToxiproxy(vaultDir));
  const admin = await cluster.admin();
  await prepareTransit(admin);
  await admin.enableAuth('approle');
  const recorder = startRecorder(file);
  stack.defer(() => recorder.close());
  const store = createStore();
  const nodes: PluginNode[] = [];
  const kubes: Kube[] = [];
  const ways = [];
  for (const [index, life] of LIVES.entries()) {
    const own = await Promise.all(cluster.nodes.map(({ port }) => proxy.way(port)));
    ways.push(own);
    const node = stack.use(
      await createNode(
        {
          index,
          dir: sub(`node-${index}`),
          logFile: emptied(`${file}.plugin-${index}.log`),
          program,
          addresses: own.map(({ address }) => `http://${address}`),
          socket: index === 0 ? 'bound' : 'inherited',
          clock: index === 2 ? 'settable' : 'real',
          config: index === 1 ? { decryptCache: {} } : {},
        },
        recorder,
      ),
    );
    await makeRole(admin, node, life);
    await node.start();
    nodes.push(node);
    const release = index === 0 ? '1.27' : '1.36';
    const folder = join(dir, `node-${index}`);
    kubes.push(stack.use(await startKube(index, node.socket, folder, release, store, recorder)));
  }
  await ready(kubes);
  await Promise.all(kubes.map((kube) => kube.restart()));

  const addresses = cluster.nodes.map(({ address }) => address);
  const clients = kubes.flatMap((kube) => kube.clients);
  const probes = await startProbes(admin, addresses, clients, recorder);
  const asAdmin = adminOf(cluster);
  const world: World = { cluster, nodes, ways, lives: LIVES, store, recorder, asAdmin };
  const schedule = scheduleOf(seed, minutes * 60_000);
  say(`seed ${seed}: ${schedule.length} faults in ${minutes} minutes`);
  recorder.record({ e: 'phase', phase: 'faults' });
  const traffic = startTraffic(kubes, store, seed);
  const progress = setInterval(() => say(progressOf(recorder)), PROGRESS_MS);
  stack.defer(() => clearInterval(progress));
  await bringFaults(schedule, world);
  recorder.record({ e: 'phase', phase: 'calm' });
  await sleep(CALM_MS);
  await traffic.stop();
  await ready(kubes);
  say(`all is well; ${store.names.length} objects are read from every node`);
  recorder.record({ e: 'phase', phase: 'sweep' });
  await sweep(kubes, store);
  await probes.stop();
  await Promise.all(nodes.map((node) => node.stop()));
  for (const { index } of nodes) {
    for (const { grantedEpochMs } of await asAdmin((operator) => tokensOf(operator, index)))
      recorder.record({ e: 'token', node: index, granted: recorder.at(grantedEpochMs) });
  }
  recorder.record({ e: 'phase', phase: 'stopped' });
  return recorder;
}

/** Of the run before this one. */
function emptied(file: string): string {
  rmSync(file, { force: true });
  return file;
}

async function ready(kubes: readonly Kube[]): Promise<void> {
  await Promise.all(
    kubes.map(({ clients: [client] }) =>
      waitUntil('a plugin is ready', READY_MS, async () => {
        return client !== undefined && (await client.status()).healthz === 'ok';
      }),
    ),
  );
}
