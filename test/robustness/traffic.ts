/** What the kube-apiservers of a run do all the time, and how every object is read from every node at its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startCallers } from '../load/callers.ts';
import type { Kube } from './kube.ts';
import { randomOf } from './schedule.ts';
import type { Store, Stored } from './store.ts';

const CALLERS = 4;
const PAUSE_MS = 120;
const STATUS_PAUSE_MS = 250;
const HEALTH_PAUSE_MS = 1_500;
const RESTART_PAUSE_MS = 6_000;
const BURST_PAUSE_MS = 1_000;
/** Reads of one burst, which the plugin puts into few requests; every fourth is of a damaged object. */
const BURST = 12;
const SHARE_OF_WRITES = 0.2;
const SHARE_OF_DAMAGED = 0.15;
/** Reads go to one of the newest objects as often as to one of any age. */
const NEWEST = 50;
const SWEEPERS = 8;
/** A busy machine may elect another leader even then. */
const SWEEP_RETRY_MS = 120_000;
const RETRY_PAUSE_MS = 1_000;

export type Traffic = { stop(): Promise<void> };

/** Starts the callers of all nodes; the seed chooses what they call. */
export function startTraffic(kubes: readonly Kube[], store: Store, seed: number): Traffic {
  const all = kubes.flatMap((kube, node) => {
    const random = randomOf(seed * 101 + node);
    const any = (): Stored | undefined => pick(store, random);
    return [
      startCallers({ count: CALLERS, pauseMs: PAUSE_MS }, async () => {
        const object = random() < SHARE_OF_WRITES ? undefined : any();
        const api = random() < 0.5 ? 'v1' : 'v2';
        if (object !== undefined) await kube.read(object);
        else await kube.write(api, random() < 0.5 ? 'envelope' : 'service');
      }),
      startCallers({ count: 1, pauseMs: BURST_PAUSE_MS }, async () => {
        const objects = Array.from({ length: BURST }, any).filter((o) => o !== undefined);
        await Promise.all(objects.map(kube.read));
      }),
      startCallers({ count: 1, pauseMs: STATUS_PAUSE_MS }, kube.status),
      startCallers({ count: 1, pauseMs: HEALTH_PAUSE_MS }, kube.healthz),
      startCallers({ count: 1, pauseMs: RESTART_PAUSE_MS }, kube.restart),
    ];
  });
  return {
    async stop() {
      await Promise.all(all.map((callers) => callers.stop()));
    },
  };
}

/** Every object from every node, again where that fails, by kube-apiservers that have just started. */
export async function sweep(kubes: readonly Kube[], store: Store): Promise<void> {
  const began = performance.now();
  await Promise.all(kubes.map((kube) => kube.restart()));
  await Promise.all(
    kubes.map(async (kube) => {
      let next = 0;
      const reader = async (): Promise<void> => {
        for (let i = next++; i < store.names.length; i = next++) {
          const name = store.names[i];
          while (name !== undefined && !(await kube.read(store.get(name)))) {
            if (performance.now() - began > SWEEP_RETRY_MS) break;
            await sleep(RETRY_PAUSE_MS);
          }
        }
      };
      await Promise.all(Array.from({ length: SWEEPERS }, reader));
      await kube.status();
    }),
  );
}

function pick({ names, damaged, get }: Store, random: () => number): Stored | undefined {
  if (names.length === 0) return undefined;
  if (damaged.size > 0 && random() < SHARE_OF_DAMAGED) {
    const some = [...damaged][Math.floor(random() * damaged.size)];
    return some === undefined ? undefined : get(some);
  }
  const recent = random() < 0.5;
  const from = recent ? Math.max(0, names.length - NEWEST) : 0;
  const name = names[from + Math.floor(random() * (names.length - from))];
  return name === undefined ? undefined : get(name);
}
