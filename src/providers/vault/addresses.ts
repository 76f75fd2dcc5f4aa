/**
 * The servers of one Vault: sticks to the one that works, goes to the next when it does not, within
 * the caller's deadline, and back to a preferred one that has been good for a while.
 */
import { type Attempt, type Staggered, staggered } from '../../system/staggered.ts';
import { fail, type Result } from '../errors.ts';
import { createHedge, type Outcome } from './hedge.ts';
import { SILENCE_MS } from './http.ts';
import { createLatency } from './latency.ts';
import { notCutOff } from './not-cut-off.ts';
import { type Choice, createPreference } from './preference.ts';
import type { Leaves, VaultReply, VaultRequest } from './reply.ts';
import type { RetryBudget } from './retry-budget.ts';
import { nameOf, type Server } from './server.ts';
import { createServerSet, type ServerSetOptions } from './server-set.ts';
import { bestOf, isDown, isElsewhere, mayHaveArrived, refuses, withWaitOf } from './verdict.ts';

export type Addresses = {
  /** The best reply of the servers, asked until one of them is final. */
  request(request: VaultRequest, signal: AbortSignal): Promise<Result<VaultReply>>;
  /** Reads the TLS files again, and makes new connections where they have changed. */
  refresh(): Promise<Result<void>>;
  close(): Promise<void>;
};

export type AddressesOptions = ServerSetOptions & {
  /** The longest that one request may take, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Whether requests that allow it are sent to a second server while the first is slow. */
  readonly hedge: boolean;
  readonly budget: RetryBudget;
};

/** Servers in the order of preference; nothing is opened before the first request. */
export function createAddresses(options: AddressesOptions): Addresses {
  const { budget, clock, log, requestTimeoutMs } = options;
  const lifetime = new AbortController();
  const latency = createLatency();
  const set = createServerSet(options, () => preference.reset());
  const preference = createPreference({
    clock,
    servers: () => set.all() ?? [],
    moved: (server, why) => log.info?.('server chosen', { server: nameOf(server.target), why }),
  });

  const sendWhole = (server: Server, request: VaultRequest, { limitMs }: Leaves) => {
    const send = () => server.connection.request(request, limitMs, lifetime.signal);
    return isLogin(request) ? server.logins.send(send) : send();
  };

  const ask = async (
    server: Server,
    request: VaultRequest,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<Outcome> => {
    server.circuit.began();
    const began = clock.now();
    const { leaves } = request;
    const result =
      leaves === undefined
        ? await server.connection.request(request, limitMs, signal)
        : await notCutOff(
            { ...request, leaves },
            sendWhole(server, request, leaves),
            limitMs,
            signal,
            clock,
          );
    const took = clock.now() - began;
    const left = !result.ok && signal.aborted && took < SILENCE_MS;
    if (result.ok && request.hedge === true) latency.saw(took);
    // A login is slow by nature, and says nothing of other requests.
    if ((result.ok || left) && request.failoverMs === undefined) server.pace.saw(took);
    if (!isDown(result)) server.circuit.succeeded();
    else if (!left) {
      server.circuit.failed(began);
      set.failed();
    }
    return { server, result };
  };

  const settles = (result: Result<VaultReply>): boolean => !isElsewhere(result);

  const hedged = createHedge({ ask, settles, latency, budget, clock });

  /** Who is the last to be asked needs to leave no time for the next. */
  const limitOf = (request: VaultRequest, server: Server, last: boolean): number => {
    const isLast = last || request.once === true;
    // What may leave something behind has a time of its own, which its callers end.
    if (request.leaves !== undefined)
      return isLast ? request.leaves.limitMs : (request.failoverMs ?? requestTimeoutMs);
    return isLast
      ? requestTimeoutMs
      : Math.min(request.failoverMs ?? server.pace.limitMs(), requestTimeoutMs);
  };

  /** One after the other, the most promising first. */
  const inTurn = async (
    order: readonly Server[],
    request: VaultRequest,
    signal: AbortSignal,
  ): Promise<Staggered<Outcome>> => {
    const outcomes: Outcome[] = [];
    for (const [i, server] of order.entries()) {
      if (i > 0 && (signal.aborted || !budget.take())) break;
      const next = order[i + 1];
      // One that is to be left alone is asked where the others have failed, and none is cut short for it.
      const spare = next?.circuit.permits() ? next : undefined;
      const limitMs = limitOf(request, server, spare === undefined);
      const mayHedge = options.hedge && request.hedge === true;
      const outcome =
        mayHedge && spare !== undefined
          ? await hedged(server, spare, request, limitMs, signal)
          : await ask(server, request, limitMs, signal);
      if (settles(outcome.result)) {
        // One that only overtook another is no better for it.
        if (outcome.server === server && request.elsewhere !== true) preference.worked(server);
        return { good: outcome, outcomes: [] };
      }
      outcomes.push(outcome);
      if (request.once === true && mayHaveArrived(outcome.result)) break;
    }
    return { good: undefined, outcomes };
  };

  /** Servers that a login must not be sent to now are left out. */
  const allowed = (request: VaultRequest, order: readonly Server[]): readonly Server[] =>
    isLogin(request) ? order.filter(({ logins }) => logins.held() === undefined) : order;

  /** One result for each server, always in the same order; the reason for a wait counts before others. */
  const ofLogins = (outcomes: readonly Outcome[]): readonly Result<VaultReply>[] =>
    (set.all() ?? []).flatMap(
      (server) =>
        server.logins.held() ?? outcomes.find((each) => each.server === server)?.result ?? [],
    );

  /** One has come back from an outage: it is asked first, and the others are worth a try soon. */
  const cameBack = (server: Server): void => {
    preference.worked(server);
    for (const other of set.all() ?? []) if (other !== server) other.circuit.halfOpen();
  };

  /** Any may be the first to come back; those that hang are heard too, but not waited for. */
  const inOutage = async (
    { order, probes }: Choice,
    request: VaultRequest,
    signal: AbortSignal,
  ): Promise<Staggered<Outcome>> => {
    const isGood = ({ result }: Outcome): boolean => settles(result) && !refuses(result);
    const found = Promise.withResolvers<Outcome>();
    for (const server of probes) {
      if (!budget.take()) break;
      void ask(server, request, requestTimeoutMs, lifetime.signal).then((outcome) => {
        if (!isGood(outcome)) return;
        // Also where nobody waits any more: the next request then knows.
        cameBack(server);
        found.resolve(outcome);
      });
    }
    const attempts = function* (): Generator<Attempt<Outcome>> {
      for (const [i, server] of order.entries()) {
        if (i > 0 && !budget.take()) return;
        yield (within) =>
          Promise.race([ask(server, request, requestTimeoutMs, within), found.promise]);
      }
    };
    const { good, outcomes } = await staggered(attempts(), isGood, clock, signal);
    // What one refuses another may be about to grant: it counts once all of them have ended.
    const settled = good ?? outcomes.find(({ result }) => settles(result));
    if (settled !== undefined) cameBack(settled.server);
    return { good: settled, outcomes };
  };

  return {
    refresh: set.refresh,
    async request(request, signal) {
      if (set.all() === undefined) {
        const refreshed = await set.refresh();
        if (!refreshed.ok) return refreshed;
      }
      set.asked();
      budget.asked();
      const choice = preference.choose();
      if (request.elsewhere === true) {
        const [inUse, ...others] = choice.order;
        if (inUse === undefined || others.length === 0)
          return fail('behind', `${request.what}: there is no other server to ask`);
        const { good } = await inTurn(others, request, signal);
        return good?.result ?? fail('behind', `${request.what}: no other server answers`);
      }
      const { good, outcomes } = await (choice.outage && mayRace(request)
        ? inOutage(choice, request, signal)
        : inTurn(allowed(request, [...choice.order, ...choice.probes]), request, signal));
      if (good !== undefined) return good.result;
      const results = isLogin(request) ? ofLogins(outcomes) : outcomes.map(({ result }) => result);
      const best = bestOf(results) ?? fail('unavailable', `${request.what}: no server`);
      // That one server wants to be left alone is no reason to leave the others alone.
      return withWaitOf(results, set.all()?.length ?? 0, best);
    },
    async close() {
      lifetime.abort();
      preference.stop();
      await set.close();
    },
  };
}

/** Whether Vault grants a token for it. */
function isLogin({ holds }: VaultRequest): boolean {
  return holds === 'auth';
}

/** Whether nothing is left behind by a request that is given up, as the token of a login would be. */
function mayRace(request: VaultRequest): boolean {
  return request.once !== true && request.failoverMs === undefined;
}
