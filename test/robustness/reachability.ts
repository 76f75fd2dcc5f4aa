/** When a plugin can use no server of Vault: by the probes of the servers and the faults of its network. Pure. */
import type { FaultEvent, HistoryEvent, NodeIndex } from './history.ts';
import type { FaultKind } from './schedule.ts';

/** A time, in milliseconds since the start of the run. */
export type Span = { readonly from: number; readonly ended: number };

/** Two servers that hang use up two of the three seconds of a call. */
const MOST_HANGING = 1;

/** When every server is down, or the connection to it does not work, or two of them hang. */
export function unreachable(history: readonly HistoryEvent[], node: NodeIndex): readonly Span[] {
  const servers = serversOf(history);
  if (servers.length === 0) return [];
  const away = new Map<number, number>();
  const hanging = new Map<number, number>();
  const found: Span[] = [];
  let since: number | undefined;
  for (const { t, change } of changesOf(history, node, servers)) {
    change(away, hanging);
    const count = (of: ReadonlyMap<number, number>): number =>
      servers.filter((server) => (of.get(server) ?? 0) > 0).length;
    const isAway = count(away) >= servers.length || count(hanging) > MOST_HANGING;
    if (isAway) since ??= t;
    if (!isAway && since !== undefined) {
      found.push({ from: since, ended: t });
      since = undefined;
    }
  }
  const last = history.at(-1)?.t ?? 0;
  return since === undefined ? found : [...found, { from: since, ended: last }];
}

type Counts = Map<number, number>;
type Change = { readonly t: number; readonly change: (away: Counts, hanging: Counts) => void };

function changesOf(
  history: readonly HistoryEvent[],
  node: NodeIndex,
  servers: readonly number[],
): readonly Change[] {
  const changes: Change[] = [];
  for (const event of history) {
    if (event.e === 'vault') {
      const by = event.up ? -1 : 1;
      changes.push({ t: event.since, change: (away) => add(away, event.server, by) });
    }
    if (event.e !== 'fault') continue;
    const by = event.phase === 'begin' ? 1 : -1;
    const { away, hangs } = effectOf(event, node);
    const which = event.server === undefined ? servers : [event.server];
    changes.push({
      t: event.t,
      change: (awayCounts, hangingCounts) => {
        for (const server of which) {
          if (away) add(awayCounts, server, by);
          if (hangs) add(hangingCounts, server, by);
        }
      },
    });
  }
  return changes.sort((a, b) => a.t - b.t);
}

const AWAY: readonly FaultKind[] = [
  'network.refuse',
  'network.reset',
  'network.cutOff',
  'network.crawl',
];

/** Whether a fault takes servers away from a plugin, and whether requests to them hang. */
function effectOf(
  { kind, node: at }: FaultEvent,
  node: NodeIndex,
): { readonly away: boolean; readonly hangs: boolean } {
  if (kind === 'vault.pause') return { away: false, hangs: true };
  if (at !== node) return { away: false, hangs: false };
  if (kind === 'network.blackhole') return { away: true, hangs: true };
  return { away: AWAY.includes(kind), hangs: false };
}

function serversOf(history: readonly HistoryEvent[]): readonly number[] {
  const seen = new Set<number>();
  for (const event of history) if (event.e === 'vault') seen.add(event.server);
  return [...seen];
}

function add(counts: Counts, key: number, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
