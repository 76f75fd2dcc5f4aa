/** When, and with which codes, calls of a plugin may fail: what the faults and the probes explain. Pure. */
import type { CallBegin, CallEnd, FaultEvent, HistoryEvent, NodeIndex } from './history.ts';
import { type Span, unreachable } from './reachability.ts';

export type ReasonKind = keyof typeof EXPLAINED;

/**
 * What a caller may be told, for each kind of trouble. `none` and `Unhealthy` are kube-apiserver's own
 * words, without a status, for what it was told before.
 */
const EXPLAINED = {
  /** No Vault server can be used from this plugin. */
  unreachable: ['Unavailable', 'DeadlineExceeded', 'none', 'Unhealthy'],
  /** The policy or the role has been taken away. */
  denied: ['PermissionDenied', 'FailedPrecondition', 'none', 'Unhealthy'],
  /** The process of the plugin does not run. */
  down: ['Unavailable', 'DeadlineExceeded', 'Canceled', 'none', 'Unhealthy'],
  /** It has just been started: Status says so, until the key has been read. Calls wait. */
  starting: ['Unavailable', 'none', 'Unhealthy'],
  /** The machine was too busy to run what was to run, by measurement. */
  slow: ['Unavailable', 'DeadlineExceeded', 'none', 'Unhealthy'],
  /** kube-apiserver asked for Status before a new version was announced, and for a seed after it. */
  rotated: ['none', 'Unhealthy'],
} as const satisfies Record<string, readonly string[]>;

/** For how long after the end of a trouble calls may still fail. The aim is 2 s on a quiet machine. */
const GRACE_MS: Readonly<Record<ReasonKind, number>> = {
  unreachable: 3_000,
  denied: 3_000,
  // The back-off of kube-apiserver's gRPC client, after an absence of up to 3 s.
  down: 5_000,
  starting: 3_000,
  slow: 3_000,
  rotated: 5_000,
};

/** An upgrade takes 0.3 s where the machine is not busy with other things; a call has 3 s. */
const SLOW_HANDOVER_MS = 1_500;
/** The test, or a client, was kept from running for so long. */
const SLOW_LAG_MS = 400;
const DEADLINE_MS = 3_000;

/**
 * After a login that may have left a token in Vault the next one waits for so long at most, counted from the
 * begin of the first (docs/decisions/0013-tokens.md). Only a call whose answer says so may fail for it.
 */
const LOGIN_WAIT_MS = 10_000;
const WAITS_FOR_LOGIN = /may have left a token in Vault, so the next one follows in \d+ s/;
/** What a login is lost by. */
const LOSES_LOGINS: readonly ReasonKind[] = ['unreachable', 'slow'];

/** kube-apiserver asks for a seed once in 10 s; one that has none neither reads nor writes with v2. */
const SEED_RETRY_MS = 13_000;
/** kube-apiserver keeps the result of a failed health check for 3 s. */
const HEALTH_CACHE_MS = 5_000;

/** A time in which calls of one plugin may fail; troubles that follow each other closely are one. */
export type Trouble = {
  readonly from: number;
  /** When the last of its causes ended. */
  readonly ended: number;
  /** Until when calls may fail. */
  readonly until: number;
  readonly kinds: ReadonlySet<ReasonKind>;
};

type Reason = Span & { readonly kind: ReasonKind };

/** Of one plugin, in the order of time, without overlaps. */
export function troublesOf(history: readonly HistoryEvent[], node: NodeIndex): readonly Trouble[] {
  const reasons = [
    ...unreachable(history, node).map((w) => ({ ...w, kind: 'unreachable' as const })),
    ...windows(history, isDenial(node)).map((w) => ({ ...w, kind: 'denied' as const })),
    ...windows(history, isAbsence(node)).map((w) => ({ ...w, kind: 'down' as const })),
    ...crashes(history, node),
    ...starts(history, node),
    ...slowness(history, node),
    ...windows(history, ({ kind }) => kind === 'key.rotate').map((w) => ({
      ...w,
      kind: 'rotated' as const,
    })),
  ].sort((a, b) => a.from - b.from);
  const troubles: Trouble[] = [];
  for (const { from, ended, kind } of reasons) {
    const until = ended + GRACE_MS[kind];
    const last = troubles.at(-1);
    if (last === undefined || from > last.until) {
      troubles.push({ from, ended, until, kinds: new Set([kind]) });
    } else {
      troubles[troubles.length - 1] = {
        from: last.from,
        ended: Math.max(last.ended, ended),
        until: Math.max(last.until, until),
        kinds: new Set([...last.kinds, kind]),
      };
    }
  }
  return troubles;
}

/** The trouble that explains why this call ended so; undefined where none does. */
export function explanation(
  troubles: readonly Trouble[],
  call: CallBegin,
  end: CallEnd,
): Trouble | undefined {
  const { code, t: endedAt } = end;
  const overlapping = troubles.filter(
    ({ from, until }) => from <= endedAt && until + laterEffect(call, code) >= call.t,
  );
  const explained = overlapping.find(({ kinds }) =>
    [...kinds].some(
      (kind) =>
        (excusesCalls(kind) || asksStatus(call)) &&
        (EXPLAINED[kind] as readonly string[]).includes(code),
    ),
  );
  return explained ?? troubles.find((trouble) => waitsForLogin(trouble, call, end));
}

/** Whether a login was lost in this trouble, for which the plugin says that it waits. */
export function waitsForLogin(
  { from, ended, kinds }: Trouble,
  call: CallBegin,
  { code, t, healthz = '', error = healthz }: CallEnd,
): boolean {
  const isOfVault = code === 'OK' || (EXPLAINED.unreachable as readonly string[]).includes(code);
  if (!isOfVault || !WAITS_FOR_LOGIN.test(error)) return false;
  const isLost = LOSES_LOGINS.some((kind) => kinds.has(kind));
  return isLost && from <= t && ended + LOGIN_WAIT_MS + laterEffect(call, code) >= call.t;
}

/** Whether Encrypt and Decrypt may fail too. */
export function excusesCalls(kind: ReasonKind): boolean {
  return kind !== 'starting' && kind !== 'rotated';
}

/** Whether the plugin is asked for Status: a v2 envelope without a seed fails as Status does. */
function asksStatus({ op, api, through }: CallBegin): boolean {
  return op === 'status' || op === 'healthz' || (api === 'v2' && through === 'envelope');
}

/** For how long kube-apiserver itself, without a call, remembers a trouble of the plugin. */
function laterEffect({ op, api, through }: CallBegin, code: string): number {
  if (op === 'healthz') return HEALTH_CACHE_MS;
  return api === 'v2' && through === 'envelope' && code === 'none' ? SEED_RETRY_MS : 0;
}

function isDenial(node: NodeIndex) {
  return ({ kind, node: at }: FaultEvent): boolean =>
    kind === 'policy.none' ||
    kind === 'policy.noDecrypt' ||
    (kind === 'role.replace' && at === node);
}

function isAbsence(node: NodeIndex) {
  return ({ kind, node: at }: FaultEvent): boolean =>
    at === node && (kind === 'plugin.kill' || kind === 'plugin.stop' || kind === 'plugin.pause');
}

/** From the begin to the end of the faults that match; to the end of the history without one. */
function windows(
  history: readonly HistoryEvent[],
  matches: (fault: FaultEvent) => boolean,
): readonly Span[] {
  const open = new Map<number, number>();
  const found: Span[] = [];
  for (const event of history) {
    if (event.e !== 'fault' || !matches(event)) continue;
    if (event.phase === 'begin') open.set(event.id, event.t);
    else found.push({ from: open.get(event.id) ?? event.t, ended: event.t });
    if (event.phase === 'end') open.delete(event.id);
  }
  const last = history.at(-1)?.t ?? 0;
  return [...found, ...[...open.values()].map((from) => ({ from, ended: last }))];
}

/** A process that ended by itself: the checker reports it, and its callers cannot be served. */
function crashes(history: readonly HistoryEvent[], node: NodeIndex): readonly Reason[] {
  const found: Reason[] = [];
  let since: number | undefined;
  for (const event of history) {
    if (event.e !== 'process' || event.node !== node) continue;
    if (event.what === 'exit' && event.by === undefined) since = event.t;
    if (event.what === 'start' && since !== undefined) {
      found.push({ from: since, ended: event.t, kind: 'down' });
      since = undefined;
    }
  }
  return found;
}

/** From the start of a process to the end of the fault that brought it, when its socket answers. */
function starts(history: readonly HistoryEvent[], node: NodeIndex): readonly Reason[] {
  const ends = history.filter((e) => e.e === 'fault' && e.node === node && e.phase === 'end');
  return history.flatMap((event): readonly Reason[] => {
    if (event.e !== 'process' || event.node !== node || event.what !== 'start') return [];
    const { t } = event;
    const answered = ends.find((end) => end.t >= t && end.e === 'fault' && isRestart(end.kind))?.t;
    return [{ from: t, ended: answered ?? t, kind: 'starting' }];
  });
}

function isRestart(kind: FaultEvent['kind']): boolean {
  return kind === 'plugin.kill' || kind === 'plugin.stop' || kind === 'plugin.handover';
}

/** The times at which the machine was too busy for anything to be said of deadlines. */
function slowness(history: readonly HistoryEvent[], node: NodeIndex): readonly Reason[] {
  const handovers = windows(history, ({ kind, node: at }) => {
    return kind === 'plugin.handover' && at === node;
  });
  const late = history.flatMap((event): readonly Span[] =>
    event.e === 'lag' && event.ms >= SLOW_LAG_MS
      ? [{ from: event.t - event.ms - DEADLINE_MS, ended: event.t }]
      : [],
  );
  return [...handovers.filter(({ from, ended }) => ended - from > SLOW_HANDOVER_MS), ...late].map(
    (span) => ({ ...span, kind: 'slow' }),
  );
}
