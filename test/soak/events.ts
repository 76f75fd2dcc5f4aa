/** What happens to Vault meanwhile: rotations and restarts, one after the other. */
import { type Clock, sleep } from '../../src/system/clock.ts';
import type { Plugin } from '../servers/plugin.ts';
import type { Vault } from '../servers/vault.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { KEY } from '../vault/vault-under-test.ts';
import type { Calls } from './calls.ts';
import type { Tally } from './tally.ts';

export type EventsOptions = {
  readonly vault: Vault;
  readonly plugin: Plugin;
  readonly calls: Calls;
  readonly tally: Tally;
  readonly clock: Clock;
  readonly say: (line: string) => void;
  readonly totalMs: number;
  readonly restarts: number;
  readonly signal: AbortSignal;
};

type Happening = { readonly atMs: number; readonly what: 'rotate' | 'restart' };

const ROTATE_EVERY_MS = 60_000;
const FIRST_ROTATION_MS = 30_000;
/** How long nobody listens, and how long Vault is sealed afterwards. */
const DOWN_MS = 3_000;
const SEALED_MS = 2_000;
const ANNOUNCED_WITHIN_MS = 10_000;
const READY_WITHIN_MS = 10_000;

/**
 * In the order of time. Restarts are spread over the first half: what an outage needs is memory that
 * the daemon keeps, and the slope of the second half is to show what calls leave behind. Pure.
 */
export function schedule(totalMs: number, restarts: number): readonly Happening[] {
  const rotations = Math.max(0, Math.ceil((totalMs - FIRST_ROTATION_MS) / ROTATE_EVERY_MS));
  return [
    ...Array.from({ length: rotations }, (_, i): Happening => {
      return { atMs: FIRST_ROTATION_MS + i * ROTATE_EVERY_MS, what: 'rotate' };
    }),
    ...Array.from({ length: restarts }, (_, i): Happening => {
      return { atMs: ((i + 1) * totalMs) / (2 * (restarts + 1)), what: 'restart' };
    }),
  ].sort((a, b) => a.atMs - b.atMs);
}

/** Lets it all happen; resolves after the last, or when the signal ends it. */
export async function runEvents(options: EventsOptions): Promise<void> {
  const { clock, signal, totalMs, restarts } = options;
  const began = clock.now();
  for (const { atMs, what } of schedule(totalMs, restarts)) {
    if (!(await sleep(clock, Math.max(0, began + atMs - clock.now()), signal))) return;
    if (what === 'rotate') await rotate(options);
    else await restart(options);
  }
}

async function rotate({ vault, calls, tally, clock, say }: EventsOptions): Promise<void> {
  const before = calls.announced();
  const began = clock.now();
  await vault.admin.rotateKey(KEY);
  try {
    await waitUntil('announced', ANNOUNCED_WITHIN_MS, () => calls.announced() > before);
    say(`rotated: v${calls.announced()} announced after ${since(began, clock)} s`);
  } catch {
    tally.wrong(`a rotation was not announced within ${ANNOUNCED_WITHIN_MS / 1000} s`);
  }
}

async function restart({ vault, plugin, tally, clock, say, signal }: EventsOptions): Promise<void> {
  await tally.duringOutage(async () => {
    await vault.stop();
    await sleep(clock, DOWN_MS, signal);
    await vault.start();
    await sleep(clock, SEALED_MS, signal);
    await vault.unseal();
    const began = clock.now();
    try {
      await plugin.ready(READY_WITHIN_MS);
      say(`Vault restarted: ready ${since(began, clock)} s after it was unsealed`);
    } catch {
      tally.wrong(`not ready ${READY_WITHIN_MS / 1000} s after Vault was unsealed`);
    }
  });
}

function since(began: number, clock: Clock): string {
  return ((clock.now() - began) / 1000).toFixed(1);
}
