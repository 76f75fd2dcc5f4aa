/** Brings the faults of a schedule, lane by lane, and writes when each begins and when all is as before. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ToxicWay } from '../servers/toxiproxy.ts';
import type { VaultAdmin } from '../servers/vault-admin.ts';
import type { VaultCluster } from '../servers/vault-cluster.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { keyFault } from './faults-key.ts';
import { pluginFault } from './faults-plugin.ts';
import { vaultFault } from './faults-vault.ts';
import type { FaultEvent } from './history.ts';
import type { PluginNode } from './nodes.ts';
import type { Recorder } from './recorder.ts';
import type { TokenLife } from './roles.ts';
import type { Fault, LaneName } from './schedule.ts';
import { damagedCopy, type Store } from './store.ts';

const ADMIN_MS = 90_000;
/** Of those that are in the store, at once. */
const DAMAGED = 12;
/** To one server, and to all: a start takes three requests, and an Encrypt two, within 3 s. */
const DELAY_MS = [20, 300] as const;
const SLOW_MS = [100, 450] as const;
/** No call can succeed; a login may, since it has a limit of its own. */
const CRAWL_MS = [2_100, 2_800] as const;

export type World = {
  readonly cluster: VaultCluster;
  readonly nodes: readonly PluginNode[];
  /** Of each node, to each server. */
  readonly ways: readonly (readonly ToxicWay[])[];
  /** Of the tokens of each node. */
  readonly lives: readonly TokenLife[];
  readonly store: Store;
  readonly recorder: Recorder;
  /** Repeats what an operator does to Vault until it succeeds. */
  asAdmin<T>(act: (admin: VaultAdmin) => Promise<T>): Promise<T>;
};

/** Brings the fault; what it answers takes it away again. `note` goes into the history with the begin. */
export type Bring = (fault: Fault, world: World) => Promise<Brought>;
export type Brought = {
  readonly detail?: Partial<Pick<FaultEvent, 'server' | 'node' | 'role' | 'minimum' | 'note'>>;
  /** Where the fault itself is brought only now, after its begin is written. */
  readonly act?: () => Promise<void>;
  readonly takeAway?: () => Promise<void>;
};

const BRING: Readonly<Record<LaneName, Bring>> = {
  vault: vaultFault,
  network: networkFault,
  key: keyFault,
  credentials: keyFault,
  plugin: pluginFault,
  store: storeFault,
};

/** Resolves when the last fault has ended. */
export async function bringFaults(schedule: readonly Fault[], world: World): Promise<void> {
  const began = world.recorder.now();
  const lanes = Map.groupBy(schedule, ({ lane }) => lane);
  await Promise.all(
    [...lanes.values()].map(async (faults) => {
      for (const fault of faults) {
        await sleep(Math.max(0, began + fault.atMs - world.recorder.now()));
        await bring(fault, world);
      }
    }),
  );
}

async function bring(fault: Fault, world: World): Promise<void> {
  const { kind, lane, forMs } = fault;
  const id = world.recorder.nextId();
  const { detail = {}, act, takeAway } = await BRING[lane](fault, world);
  world.recorder.record({ e: 'fault', id, kind, phase: 'begin', ...detail });
  await act?.();
  await sleep(forMs);
  await takeAway?.();
  world.recorder.record({ e: 'fault', id, kind, phase: 'end', ...detail });
}

/** Retries: meanwhile another lane may have taken the active server away. */
export function adminOf(cluster: VaultCluster): World['asAdmin'] {
  return async <T>(act: (admin: VaultAdmin) => Promise<T>): Promise<T> => {
    const results: T[] = [];
    await waitUntil('an operator reaches Vault', ADMIN_MS, async () => {
      results.push(await act(await cluster.admin()));
      return true;
    });
    return results[0] as T;
  };
}

async function networkFault(fault: Fault, { ways }: World): Promise<Brought> {
  const { kind, node, server, choice } = fault;
  const way = ways[node]?.[server];
  const all = ways[node] ?? [];
  if (way === undefined) throw new Error(`no connection from ${node} to ${server}`);
  const detail = { node, server };
  const cure = (): Promise<void> => way.cure();
  switch (kind) {
    case 'network.refuse':
      return { detail, act: () => way.disable(), takeAway: () => way.enable() };
    case 'network.reset':
      return { detail, act: () => way.add({ type: 'reset_peer' }), takeAway: cure };
    case 'network.blackhole':
      return { detail, act: () => swallow(way), takeAway: cure };
    case 'network.delay':
      return delayed([way], detail, DELAY_MS, choice);
    case 'network.slow':
      return delayed(all, { node }, SLOW_MS, choice);
    case 'network.crawl':
      return delayed(all, { node }, CRAWL_MS, choice);
    case 'network.cutOff':
      return {
        detail: { node },
        act: async () => void (await Promise.all(all.map((one) => one.disable()))),
        takeAway: async () => void (await Promise.all(all.map((one) => one.enable()))),
      };
    default:
      throw new Error(`${kind} is no fault of the network`);
  }
}

function delayed(
  ways: readonly ToxicWay[],
  detail: Brought['detail'],
  [least, most]: readonly [number, number],
  choice: number,
): Brought {
  const latency = Math.round(least + choice * (most - least));
  return {
    detail: { ...detail, note: `${latency} ms` },
    act: async () => {
      for (const way of ways) await way.add({ type: 'latency', attributes: { latency } });
    },
    takeAway: async () => {
      for (const way of ways) await way.cure();
    },
  };
}

/** Nothing passes, and connections stay open. */
async function swallow(way: ToxicWay): Promise<void> {
  for (const stream of ['upstream', 'downstream'] as const)
    await way.add({ type: 'timeout', stream, attributes: { timeout: 0 } });
}

/** Some of the newest objects and some of any age. */
async function storeFault({ choice }: Fault, { store, recorder }: World): Promise<Brought> {
  const { names } = store;
  const chosen = new Set<string>();
  for (let i = 0; i < DAMAGED && names.length > 0; i += 1) {
    const back = i % 2 === 0 ? i : Math.floor(((choice * (i + 1)) % 1) * names.length);
    const name = names[Math.max(0, names.length - 1 - back)];
    if (name !== undefined) chosen.add(name);
  }
  const originals = [...chosen].map(store.get);
  const act = async (): Promise<void> => {
    for (const original of originals) {
      const copy = damagedCopy(original, choice);
      if (copy === undefined) continue;
      store.replace(copy);
      store.damaged.add(copy.name);
      recorder.record({ e: 'damage', object: copy.name, damaged: true });
    }
  };
  const takeAway = async (): Promise<void> => {
    for (const original of originals) {
      if (!store.damaged.delete(original.name)) continue;
      store.replace(original);
      recorder.record({ e: 'damage', object: original.name, damaged: false });
    }
  };
  return { act, takeAway };
}
