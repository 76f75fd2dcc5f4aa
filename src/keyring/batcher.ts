/**
 * Puts the calls that wait together into one request, without ever waiting for more of them.
 *
 * What arrives in one turn of the event loop leaves at its end. While every slot is busy, calls
 * queue, and the next free slot takes as many of them as a batch holds: an idle plugin adds no
 * delay, and a busy one asks the provider once for many.
 */

import { fail, type Result, succeed } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Clock, Timer } from '../system/clock.ts';
import { createSlots } from './slots.ts';

/** What one call wants of the provider. */
export type BatchItem = {
  readonly bytes: Uint8Array;
  /** Items go together only where this is the same: the key version to encrypt with. */
  readonly group: number;
  /** Items with the same one share one place in a batch; undefined where none may be shared. */
  readonly shareAs: string | undefined;
};

export type Batcher = {
  /**
   * The provider's result for one item. Fails with `unavailable` as soon as the signal aborts, and
   * with `overloaded` at once where the queue is full.
   */
  submit(item: BatchItem, signal: CallSignal): Promise<Result<Uint8Array>>;
  /** How many items wait for a slot. */
  queued(): number;
  /** Resolves when nothing is queued or under way. */
  idle(): Promise<void>;
};

export type BatcherOptions = {
  /** What is done in a few words, for the sentence of an error, e.g. `decrypting`. */
  readonly what: string;
  readonly send: (
    items: readonly Uint8Array[],
    group: number,
    signal: AbortSignal,
  ) => Promise<readonly Result<Uint8Array>[]>;
  readonly clock: Clock;
  /** The most items in one request, and the most that wait. */
  readonly limits?: { readonly batch: number; readonly queue: number };
};

const LIMITS = { batch: 128, queue: 4096 };

type Waiter = { readonly resolve: (result: Result<Uint8Array>) => void };
type Entry = {
  readonly item: BatchItem;
  readonly waiters: Waiter[];
  /** What it is part of once it was sent. */
  batch: Batch | undefined;
};
/** Ends early where all who wait for it have left. */
type Batch = { readonly abort: AbortController; wanted: number };

/** A batcher with nothing in it. */
export function createBatcher(options: BatcherOptions): Batcher {
  const { what, send, clock, limits = LIMITS } = options;
  const slots = createSlots();
  const shared = new Map<string, Entry>();
  let queue: Entry[] = [];
  let scheduled = false;
  let pause: Timer | undefined;
  /** What the provider said when it asked to be left alone. */
  let pausedBy = '';
  let idle: PromiseWithResolvers<void> | undefined;

  const schedule = (): void => {
    if (scheduled || pause !== undefined) return;
    scheduled = true;
    setImmediate(flush);
  };

  const flush = (): void => {
    scheduled = false;
    while (pause === undefined && queue.length > 0 && slots.take()) {
      void dispatch(takeBatch());
    }
  };

  const isIdle = (): boolean => queue.length === 0 && slots.busy() === 0;
  const tellIdle = (): void => {
    if (!isIdle()) return;
    pause?.cancel();
    pause = undefined;
    idle?.resolve();
    idle = undefined;
  };

  /** As many as a batch holds from the head of the queue, all of one group. */
  const takeBatch = (): readonly Entry[] => {
    const group = queue[0]?.item.group;
    let end = 0;
    while (end < limits.batch && queue[end]?.item.group === group && end < queue.length) end += 1;
    const entries = queue.slice(0, end);
    queue = queue.slice(end);
    return entries;
  };

  const dispatch = async (entries: readonly Entry[]): Promise<void> => {
    const batch: Batch = { abort: new AbortController(), wanted: entries.length };
    for (const entry of entries) entry.batch = batch;
    const began = clock.now();
    const items = entries.map(({ item }) => item.bytes);
    const results = await send(items, entries[0]?.item.group ?? 0, batch.abort.signal).catch(
      (cause: unknown) =>
        items.map(() => fail('internal', `${what} failed unexpectedly`, { cause })),
    );
    slots.give(clock.now() - began, results[0]?.ok === true);
    for (const [i, entry] of entries.entries()) {
      settle(entry, results[i] ?? fail('internal', `${what}: the provider left out an item`));
    }
    heed(results);
    schedule();
    if (idle !== undefined) tellIdle();
  };

  const forget = (entry: Entry): void => {
    const { shareAs } = entry.item;
    if (shareAs !== undefined && shared.get(shareAs) === entry) shared.delete(shareAs);
  };

  const settle = (entry: Entry, result: Result<Uint8Array>): void => {
    forget(entry);
    const waiters = entry.waiters.splice(0);
    if (waiters.length === 0 && result.ok) result.value.fill(0);
    for (const [i, waiter] of waiters.entries()) {
      // Each may overwrite what it was given.
      const shared = result.ok && i < waiters.length - 1;
      waiter.resolve(shared ? succeed(Uint8Array.from(result.value)) : result);
    }
  };

  /** A provider that asks to be left alone is left alone by everybody. */
  const heed = (results: readonly Result<Uint8Array>[]): void => {
    const first = results[0];
    if (first?.ok !== false || first.error.retryAfterMs === undefined) return;
    const { message, retryAfterMs: wait } = first.error;
    pausedBy = message;
    pause?.cancel();
    pause = clock.setTimer(wait, () => {
      pause = undefined;
      flush();
    });
  };

  const leave = (entry: Entry, waiter: Waiter): void => {
    const at = entry.waiters.indexOf(waiter);
    if (at < 0) return;
    entry.waiters.splice(at, 1);
    const why = pause === undefined ? '' : `; waiting because of: ${pausedBy}`;
    waiter.resolve(fail('unavailable', `${what}: the caller's deadline has passed${why}`));
    if (entry.waiters.length > 0) return;
    if (entry.batch === undefined) {
      queue = queue.filter((queued) => queued !== entry);
      forget(entry);
      if (idle !== undefined) tellIdle();
      return;
    }
    entry.batch.wanted -= 1;
    if (entry.batch.wanted === 0) entry.batch.abort.abort();
  };

  const enter = (item: BatchItem): Entry | undefined => {
    const { shareAs } = item;
    const same = shareAs === undefined ? undefined : shared.get(shareAs);
    // One whose callers have all left may be aborted already.
    if (same !== undefined && same.waiters.length > 0) return same;
    if (queue.length >= limits.queue) return undefined;
    const entry: Entry = { item, waiters: [], batch: undefined };
    if (shareAs !== undefined) shared.set(shareAs, entry);
    queue.push(entry);
    schedule();
    return entry;
  };

  return {
    submit(item, signal) {
      return new Promise((resolve) => {
        if (signal.aborted) {
          resolve(fail('unavailable', `${what}: the caller's deadline has passed`));
          return;
        }
        const entry = enter(item);
        if (entry === undefined) {
          resolve(
            fail('overloaded', `${what}: ${limits.queue} calls wait already: try again later`),
          );
          return;
        }
        const onAbort = (): void => leave(entry, waiter);
        const waiter: Waiter = {
          resolve(result) {
            signal.removeEventListener('abort', onAbort);
            resolve(result);
          },
        };
        signal.addEventListener('abort', onAbort);
        entry.waiters.push(waiter);
      });
    },
    queued: () => queue.length,
    idle() {
      idle ??= Promise.withResolvers();
      const { promise } = idle;
      tellIdle();
      return promise;
    },
  };
}
