/**
 * The servers of one Vault: sticks to the one that works, goes to the next when it does not, within
 * the caller's deadline, and back to a preferred one that has been good for a while.
 */
import type { Log } from '../../observe/log.ts';
import { type Clock, sleep } from '../../system/clock.ts';
import { fail, type Result } from '../errors.ts';
import { createCircuit } from './circuit.ts';
import type { Target, TlsMaterial } from './dispatcher.ts';
import type { VaultConnection } from './http.ts';
import { createLatency } from './latency.ts';
import { createPreference } from './preference.ts';
import { failureOf, type VaultReply, type VaultRequest } from './reply.ts';
import type { RetryBudget } from './retry-budget.ts';
import { nameOf, type Server } from './server.ts';

export type Addresses = {
  /** An answer of any status of the first server that can serve. */
  request(request: VaultRequest, signal: AbortSignal): Promise<Result<VaultReply>>;
  /** Reads the TLS files again, and makes new connections where they have changed. */
  refresh(): Promise<Result<void>>;
  close(): Promise<void>;
};

export type AddressesOptions = {
  /** Looks up the servers, most preferred first; never rejects. */
  readonly resolve: () => Promise<readonly Target[]>;
  readonly readTls: () => Promise<Result<TlsMaterial>>;
  readonly connect: (target: Target, tls: TlsMaterial) => VaultConnection;
  /** The longest that one request may take, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Whether requests that allow it are sent to a second server while the first is slow. */
  readonly hedge: boolean;
  readonly budget: RetryBudget;
  readonly clock: Clock;
  readonly log: Log;
};

type Outcome = { readonly server: Server; readonly result: Result<VaultReply> };

/** A server that does not answer must leave time for the next one, within kube-apiserver's 3 s. */
const FAILOVER_MS = 1_000;
/** Below this a slow answer is more likely our own doing than the server's. */
const HEDGE_LEAST_MS = 20;
/** A server that was overtaken so often in a row counts as one that hangs. */
const OVERTAKEN_MOST = 3;
/** While servers fail their names are looked up again, and the TLS files read, at most so often. */
const RENEW_SPACING_MS = 5_000;

/** Servers in the order of preference; nothing is opened before the first request. */
export function createAddresses(options: AddressesOptions): Addresses {
  const { budget, clock, log, requestTimeoutMs } = options;
  let servers: readonly Server[] | undefined;
  let material: TlsMaterial = {};
  let renewedAt = Number.NEGATIVE_INFINITY;
  let resolving: Promise<void> | undefined;
  let closed = false;
  const latency = createLatency();
  let overtaken = 0;
  const closing = new Set<Promise<void>>();
  const preference = createPreference({
    clock,
    servers: () => servers ?? [],
    moved: (server, why) => log.info?.('server chosen', { server: nameOf(server.target), why }),
  });

  const retire = (old: readonly Server[]): void => {
    for (const { connection } of old) {
      const ended = connection.close().finally(() => closing.delete(ended));
      closing.add(ended);
    }
  };

  /** Replaces the servers, keeping those that stay what they are. */
  const replaceServers = (targets: readonly Target[], keep: readonly Server[]): void => {
    const kept = new Map(keep.map((server) => [nameOf(server.target), server]));
    const next = targets.map(
      (target): Server =>
        kept.get(nameOf(target)) ?? {
          target,
          connection: options.connect(target, material),
          circuit: createCircuit(clock),
        },
    );
    retire((servers ?? []).filter((server) => !next.includes(server)));
    servers = next;
    preference.reset();
  };

  const resolve = (): Promise<void> => {
    resolving ??= options
      .resolve()
      .then((targets) => {
        if (closed) return;
        const same = targets.map(nameOf).join() === servers?.map((s) => nameOf(s.target)).join();
        if (!same) replaceServers(targets, servers ?? []);
      })
      .finally(() => {
        resolving = undefined;
      });
    return resolving;
  };

  const refresh = async (): Promise<Result<void>> => {
    const read = await options.readTls();
    if (!read.ok) {
      if (servers === undefined) return read;
      // Half of a pair that is being replaced: what there is serves until the other half is there.
      log.warn?.('TLS files not taken', { why: read.error.message });
      return { ok: true, value: undefined };
    }
    const { ca, cert, key } = read.value;
    const changed = ca !== material.ca || cert !== material.cert || key !== material.key;
    material = read.value;
    if (servers === undefined) await resolve();
    else if (changed && !closed) {
      replaceServers(
        servers.map(({ target }) => target),
        [],
      );
    }
    return { ok: true, value: undefined };
  };

  /** What failed may have been moved to another address, or may want another certificate by now. */
  const renew = async (): Promise<void> => {
    if (closed || clock.now() - renewedAt < RENEW_SPACING_MS) return;
    renewedAt = clock.now();
    await refresh();
    await resolve();
  };

  const send = async (
    server: Server,
    request: VaultRequest,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<Outcome> => {
    server.circuit.began();
    const began = clock.now();
    const result = await server.connection.request(request, limitMs, signal);
    if (result.ok && request.hedge === true) latency.saw(clock.now() - began);
    if (isDown(result)) {
      // A caller who left says nothing about the server.
      if (!signal.aborted) {
        server.circuit.failed();
        void renew();
      }
    } else server.circuit.succeeded();
    return { server, result };
  };

  /** Asks a second server too where the first is slower than nearly always. */
  const hedged = async (
    first: Server,
    spare: Server,
    request: VaultRequest,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<Outcome> => {
    const p95 = latency.p95();
    if (p95 === undefined) return await send(first, request, limitMs, signal);
    const rounds = [new AbortController(), new AbortController()] as const;
    const abort = (): void => {
      for (const round of rounds) round.abort();
    };
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    const answered = new AbortController();
    const one = send(first, request, limitMs, rounds[0].signal);
    try {
      const slow = sleep(clock, Math.max(HEDGE_LEAST_MS, p95), answered.signal);
      const early = await Promise.race([one, slow]);
      if (typeof early !== 'boolean') {
        overtaken = 0;
        return early;
      }
      if (!early || !budget.take()) return await one;
      const two = send(spare, request, limitMs, rounds[1].signal);
      const winner = await Promise.race([one, two]);
      if (!isElsewhere(request, winner.result, clock.now())) {
        overtaken = winner.server === spare ? overtaken + 1 : 0;
        if (overtaken >= OVERTAKEN_MOST) first.circuit.failed();
        return winner;
      }
      return await (winner.server === first ? two : one);
    } finally {
      answered.abort();
      signal.removeEventListener('abort', abort);
      abort();
    }
  };

  return {
    refresh,
    async request(request, signal) {
      if (servers === undefined) {
        const refreshed = await refresh();
        if (!refreshed.ok) return refreshed;
      }
      budget.asked();
      const order = preference.order();
      // A server that hangs must not use up the time of the next one.
      const limitMs = order.length > 1 ? Math.min(FAILOVER_MS, requestTimeoutMs) : requestTimeoutMs;
      let last: Result<VaultReply> = fail('unavailable', `${request.what}: there is no server`);
      for (const [i, server] of order.entries()) {
        if (i > 0 && (signal.aborted || !budget.take())) break;
        const spare = order[i + 1];
        const mayHedge = options.hedge && request.hedge === true && spare?.circuit.permits();
        const outcome =
          mayHedge && spare !== undefined
            ? await hedged(server, spare, request, limitMs, signal)
            : await send(server, request, limitMs, signal);
        last = outcome.result;
        if (!isElsewhere(request, last, clock.now())) {
          // One that only overtook another is no better for it.
          if (outcome.server === server) preference.worked(server);
          return last;
        }
        if (request.once === true && !last.ok) break;
      }
      return last;
    },
    async close() {
      closed = true;
      preference.stop();
      retire(servers ?? []);
      servers = [];
      await Promise.all(closing);
    },
  };
}

/** Whether another server may do better: this one is away, sealed, behind, or in trouble. */
function isElsewhere(request: VaultRequest, result: Result<VaultReply>, now: number): boolean {
  if (!result.ok) return result.error.kind === 'unavailable';
  // A standby that does not forward sends its clients to the active node.
  if (result.value.status === TEMPORARY_REDIRECT) return true;
  return failureOf(request, result.value, now)?.error.kind === 'unavailable';
}

/** Whether the server cannot serve at all, whatever is asked of it. */
function isDown(result: Result<VaultReply>): boolean {
  return result.ok ? DOWN.includes(result.value.status) : result.error.kind === 'unavailable';
}

const TEMPORARY_REDIRECT = 307;
const DOWN: readonly number[] = [472, 473, 501, 502, 503, 504];
