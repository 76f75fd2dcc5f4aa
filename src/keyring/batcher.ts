/**
 * Puts the calls that wait together into one request, without ever waiting for more of them.
 *
 * What arrives in one turn of the event loop leaves at its end. While every slot is busy, calls
 * queue, and the next free slot takes as many of them as a batch holds: an idle plugin adds no
 * delay, and a busy one asks the provider once for many.
 */

import { fail, type Result, succeed } from '../providers/errors.ts';
import type { CallSignal } from '../system/call-signal.ts';
import type { Clock } from '../system/clock.ts';
import type { Backoff } from './backoff.ts';
import { createSlots } from './slots.ts';

/**
 * Which queue a call waits in. What kube-apiserver starts or stays alive by has one of its own, which
 * is taken first: thousands of other calls that wait shut it out neither of a place nor of a batch.
 */
export type Lane = 'urgent' | 'ordinary';

/** What one call wants of the provider. */
export type BatchItem = {
  readonly bytes: Uint8Array;
  /** Items go together only where this is the same: the key version to encrypt with. */
  readonly group: number;
  /** Items with the same one share one place in a batch; undefined where none may be shared. */
  readonly shareAs: string | undefined;
  readonly lane: Lane;
  readonly proof: Proof | undefined;
};

/**
 * What is sent in the same request as the items that name it, once for all of them, whatever the limits
 * of a batch are: so it is newer than each of them, and takes no place of a call.
 */
export type Proof = {
  readonly bytes: Uint8Array;
  /** Called once for each request; a failure takes the place of each good result that needs this proof. */
  readonly failure: (result: Result<Uint8Array>) => Failure | undefined;
};

type Failure = Extract<Result<never>, { ok: false }>;

export type Batcher = {
  /**
   * The provider's result for one item. Fails with `unavailable` as soon as the signal aborts, and
   * with `overloaded` at once where its lane is full.
   */
  submit(item: BatchItem, signal: CallSignal): Promise<Result<Uint8Array>>;
  /** How many items wait for a slot. */
  queued(): number;
  /** Resolves when nothing is queued or under way. */
  idle(): Promise<void>;
  /** Ends with `unavailable` whatever waits, now and later, and what is under way too if told so. */
  abandon(underWay: boolean): void;
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
  /** The provider's, shared by all that is sent to it. */
  readonly backoff: Backoff;
  /** Told of each request that was not given up, item by item. */
  readonly saw?: (results: readonly Result<Uint8Array>[]) => void;
  readonly limits?: BatchLimits;
};

export type BatchLimits = {
  /** The most items in one request. */
  readonly batch: number;
  /** The most bytes in one request that has more than one item. */
  readonly bytes: number;
  /** The most calls of each lane that wait for an answer. */
  readonly calls: Readonly<Record<Lane, number>>;
};

/** Callers who leave after so long have waited for a provider that does not answer. */
const SILENCE_MS = 2_000;

/** How many calls of each lane may wait for one provider and direction. */
export const MOST_CALLS: BatchLimits['calls'] = { urgent: 512, ordinary: 4096 };

export const BATCH_LIMITS: BatchLimits = { batch: 128, bytes: 512 * 1024, calls: MOST_CALLS };

type Waiter = {
  readonly lane: Lane;
  readonly signal: CallSignal;
  readonly leave: () => void;
  readonly resolve: (result: Result<Uint8Array>) => void;
};
type Entry = {
  readonly item: BatchItem;
  waiters: Waiter[];
  /** What it is part of once it was sent. */
  batch: Batch | undefined;
};
/** Ends early where all who wait for it have left. */
type Batch = { readonly abort: AbortController; wanted: number };

/** A batcher with nothing in it. */
export function createBatcher(options: BatcherOptions): Batcher {
  const { what, send, clock, backoff, saw, limits = BATCH_LIMITS } = options;
  const slots = createSlots();
  const shared = new Map<string, Entry>();
  const sent = new Set<Batch>();
  /** In the order in which they are taken, each in the order of its arrivals. */
  const queues: Readonly<Record<Lane, Set<Entry>>> = { urgent: new Set(), ordinary: new Set() };
  const queued = (): number => queues.urgent.size + queues.ordinary.size;
  const calls: Record<Lane, number> = { urgent: 0, ordinary: 0 };
  let scheduled = false;
  let abandoned = false;
  let idle: PromiseWithResolvers<void> | undefined;
  /** Since when nothing was answered; undefined where the last request was. */
  let silentSince: number | undefined;
  let lastLeftAt = Number.NEGATIVE_INFINITY;

  const schedule = (): void => {
    if (scheduled || queued() === 0 || backoff.holds()) return;
    scheduled = true;
    setImmediate(flush);
  };

  const flush = (): void => {
    scheduled = false;
    while (queued() > 0 && !backoff.holds() && slots.take()) {
      void dispatch(takeBatch());
    }
  };
  backoff.onEnd(flush);

  const tellIdle = (): void => {
    if (queued() > 0 || slots.busy() > 0) return;
    idle?.resolve();
    idle = undefined;
  };

  /** As many as a batch holds, all of the group of the first one. */
  const takeBatch = (): readonly Entry[] => {
    const entries: Entry[] = [];
    let bytes = 0;
    for (const queue of [queues.urgent, queues.ordinary]) {
      for (const entry of queue) {
        const { item } = entry;
        bytes += item.bytes.length;
        const full = entries.length >= limits.batch || (entries.length > 0 && bytes > limits.bytes);
        if (full || item.group !== (entries[0] ?? entry).item.group) return entries;
        queue.delete(entry);
        entries.push(entry);
      }
    }
    return entries;
  };

  const dispatch = async (entries: readonly Entry[]): Promise<void> => {
    const batch: Batch = { abort: new AbortController(), wanted: entries.length };
    for (const entry of entries) entry.batch = batch;
    sent.add(batch);
    const began = clock.now();
    const proofs = proofsOf(entries);
    const items = [...entries.map(({ item }) => item.bytes), ...proofs.map(({ bytes }) => bytes)];
    const results = await send(items, entries[0]?.item.group ?? 0, batch.abort.signal).catch(
      (cause: unknown) =>
        items.map(() => fail('internal', `${what} failed unexpectedly`, { cause })),
    );
    sent.delete(batch);
    const took = clock.now() - began;
    slots.give(took, results[0]?.ok === true);
    // What was given up says nothing about the provider, unless it was silent for long.
    if (!batch.abort.signal.aborted || isSilent(began)) {
      silentSince = undefined;
      backoff.saw(results, began);
      saw?.(results);
    }
    const resultAt = (i: number): Result<Uint8Array> =>
      results[i] ?? fail('internal', `${what}: the provider left out an item`);
    const failures = proofs.map(({ failure }, i) => failure(resultAt(entries.length + i)));
    entries.forEach((entry, i) => {
      const { proof } = entry.item;
      const unproved = proof === undefined ? undefined : failures[proofs.indexOf(proof)];
      const result = resultAt(i);
      if (unproved !== undefined && result.ok) result.value.fill(0);
      settle(entry, result.ok ? (unproved ?? result) : result);
    });
    schedule();
    if (idle !== undefined) tellIdle();
  };

  /** Whether nothing was answered for long; also to callers who left, one soon after the other. */
  const isSilent = (began: number): boolean => {
    const now = clock.now();
    if (silentSince === undefined || began - lastLeftAt >= SILENCE_MS) silentSince = began;
    lastLeftAt = now;
    return now - silentSince >= SILENCE_MS;
  };

  const forget = (entry: Entry): void => {
    const { shareAs } = entry.item;
    if (shareAs !== undefined && shared.get(shareAs) === entry) shared.delete(shareAs);
  };

  const answer = ({ lane, signal, leave, resolve }: Waiter, result: Result<Uint8Array>): void => {
    calls[lane] -= 1;
    signal.removeEventListener('abort', leave);
    resolve(result);
  };

  const settle = (entry: Entry, result: Result<Uint8Array>): void => {
    forget(entry);
    const { waiters } = entry;
    entry.waiters = [];
    const last = waiters.pop();
    // Each may overwrite what it was given.
    for (const waiter of waiters)
      answer(waiter, result.ok ? succeed(Uint8Array.from(result.value)) : result);
    if (last !== undefined) answer(last, result);
    else if (result.ok) result.value.fill(0);
  };

  const leave = (entry: Entry, waiter: Waiter): void => {
    const at = entry.waiters.indexOf(waiter);
    if (at < 0) return;
    entry.waiters.splice(at, 1);
    const why = backoff.why();
    answer(
      waiter,
      fail(
        'unavailable',
        `${what}: the caller's deadline has passed${why === '' ? '' : `; waiting because of: ${why}`}`,
      ),
    );
    if (entry.waiters.length > 0) return;
    if (entry.batch === undefined) {
      queues[entry.item.lane].delete(entry);
      forget(entry);
      if (idle !== undefined) tellIdle();
      return;
    }
    entry.batch.wanted -= 1;
    if (entry.batch.wanted === 0) entry.batch.abort.abort();
  };

  const enter = (item: BatchItem): Entry => {
    const { shareAs } = item;
    const same = shareAs === undefined ? undefined : shared.get(shareAs);
    // An entry whose callers have all left may be aborted already.
    if (same !== undefined && same.waiters.length > 0) return same;
    const entry: Entry = { item, waiters: [], batch: undefined };
    if (shareAs !== undefined) shared.set(shareAs, entry);
    queues[item.lane].add(entry);
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
        if (abandoned) {
          resolve(fail('unavailable', `${what}: the configuration has just been replaced`));
          return;
        }
        const { lane } = item;
        if (calls[lane] >= limits.calls[lane]) {
          resolve(
            fail('overloaded', `${what}: ${calls[lane]} calls wait already: try again later`),
          );
          return;
        }
        calls[lane] += 1;
        const entry = enter(item);
        const waiter: Waiter = { lane, signal, leave: () => leave(entry, waiter), resolve };
        signal.addEventListener('abort', waiter.leave);
        entry.waiters.push(waiter);
      });
    },
    queued,
    idle() {
      idle ??= Promise.withResolvers();
      const { promise } = idle;
      tellIdle();
      return promise;
    },
    abandon(all) {
      abandoned = true;
      const waiting = [...queues.urgent, ...queues.ordinary];
      for (const queue of Object.values(queues)) queue.clear();
      for (const entry of waiting)
        settle(entry, fail('unavailable', `${what}: the configuration has just been replaced`));
      if (all) for (const batch of sent) batch.abort.abort();
      if (idle !== undefined) tellIdle();
    },
  };
}

/** Each once; nearly always none, or one for all. */
function proofsOf(entries: readonly Entry[]): readonly Proof[] {
  const proofs: Proof[] = [];
  for (const { item } of entries)
    if (item.proof !== undefined && !proofs.includes(item.proof)) proofs.push(item.proof);
  return proofs;
}
