/**
 * Which server is asked first: the one that works, until a more preferred one has been good for a
 * while. While the most preferred is not the one in use, those before it are asked for their health
 * now and then, one at a time.
 */
import type { Clock, Timer } from '../../system/clock.ts';
import type { VaultRequest } from './reply.ts';
import type { Server } from './server.ts';

export type Preference = {
  /** Whom to ask now. */
  choose(): Choice;
  /** A server answered; it is asked first from now on. */
  worked(server: Server): void;
  /** The servers are other ones now. */
  reset(): void;
  stop(): void;
};

export type Choice = {
  /** In this order, the next where one has failed; never empty where there are any servers. */
  readonly order: readonly Server[];
  /** Nobody is to wait for these: each has hung, and it is time to see whether it still does. */
  readonly probes: readonly Server[];
  /** Whether none is believed to work. */
  readonly outage: boolean;
};

export type PreferenceOptions = {
  readonly servers: () => readonly Server[];
  readonly moved: (server: Server, why: 'failover' | 'preferred again') => void;
  readonly clock: Clock;
};

/** With the watcher's own looks this keeps below four requests a minute. */
const PROBE_INTERVAL_MS = 60_000;
const PROBE_LIMIT_MS = 2_000;
/** How many looks in a row must be good. */
const GOOD_LOOKS = 2;
/** sys/health of an active node, a standby that forwards, and a performance standby. */
const GOOD: readonly number[] = [200, 429, 473];

/** https://developer.hashicorp.com/vault/api-docs/system/health */
const HEALTH: VaultRequest = {
  method: 'GET',
  path: 'sys/health',
  what: 'looking at its health',
  holds: 'health',
  root: true,
};

/** Prefers the first server. */
export function createPreference({ servers, moved, clock }: PreferenceOptions): Preference {
  const lifetime = new AbortController();
  let current: Server | undefined;
  let timer: Timer | undefined;
  let turn = 0;
  let looks = new Map<Server, number>();

  const inUse = (): Server | undefined => current ?? servers()[0];

  const schedule = (): void => {
    if (timer !== undefined || lifetime.signal.aborted || inUse() === servers()[0]) return;
    timer = clock.setTimer(PROBE_INTERVAL_MS, () => void probe());
  };

  const probe = async (): Promise<void> => {
    const using = inUse();
    const before = servers().slice(0, using === undefined ? 0 : servers().indexOf(using));
    const server = before[turn % Math.max(1, before.length)];
    turn += 1;
    if (server !== undefined) await look(server);
    timer = undefined;
    schedule();
  };

  const look = async (server: Server): Promise<void> => {
    const result = await server.connection.request(HEALTH, PROBE_LIMIT_MS, lifetime.signal);
    if (lifetime.signal.aborted || !servers().includes(server)) return;
    const good = result.ok && result.value.kind === 'answer' && GOOD.includes(result.value.status);
    looks.set(server, good ? (looks.get(server) ?? 0) + 1 : 0);
    if ((looks.get(server) ?? 0) < GOOD_LOOKS) return;
    server.circuit.succeeded();
    current = server;
    looks = new Map();
    moved(server, 'preferred again');
  };

  return {
    choose() {
      const using = inUse();
      if (using === undefined) return { order: [], probes: [], outage: true };
      const all = [using, ...servers().filter((server) => server !== using)];
      const works = all.filter(({ circuit }) => circuit.closed());
      const open = all.filter(({ circuit }) => !circuit.closed());
      const due = open.filter(({ circuit }) => circuit.permits());
      // Asking those costs nothing, and any of them may be the first to come back.
      const quick = open.filter(({ circuit }) => circuit.failsFast()).sort(longestIdleFirst);
      if (works.length > 0) {
        // One that has just failed comes after those that have not, however much it is preferred.
        const rest = quick.filter((server) => !due.includes(server));
        return { order: [...works, ...due, ...rest], probes: [], outage: false };
      }
      const probes = due.filter((server) => !quick.includes(server)).sort(longestIdleFirst);
      if (quick.length > 0) return { order: quick, probes, outage: true };
      return {
        order: probes.length > 0 ? probes : open.sort(longestIdleFirst),
        probes: [],
        outage: true,
      };
    },
    worked(server) {
      // It may have been replaced while it answered.
      if (server === inUse() || !servers().includes(server)) return;
      current = server;
      looks = new Map();
      moved(server, 'failover');
      schedule();
    },
    reset() {
      if (current !== undefined && !servers().includes(current)) current = undefined;
      looks = new Map();
    },
    stop() {
      lifetime.abort();
      timer?.cancel();
    },
  };
}

function longestIdleFirst(a: Server, b: Server): number {
  return a.circuit.idleSince() - b.circuit.idleSince();
}
