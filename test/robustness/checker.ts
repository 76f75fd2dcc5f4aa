/** What must be true of every history. Pure: it reads the history, and nothing else. */
import { type Call, callsOf, isWritten, nameOf, phaseAt, type Violation } from './calls.ts';
import { checkLateCalls } from './check-deadlines.ts';
import { checkConvergence, checkKeyIds } from './check-key-ids.ts';
import { checkStatus } from './check-status.ts';
import { checkTokens } from './check-tokens.ts';
import type { CallEnd, HistoryEvent } from './history.ts';
import { excusesCalls, explanation, type Trouble, troublesOf } from './reasons.ts';

export type Report = {
  readonly violations: readonly Violation[];
  readonly numbers: {
    readonly calls: number;
    readonly failed: number;
    readonly faults: number;
    readonly objects: number;
    readonly damagedReads: number;
    /** From the end of the last fault to the end of the last failed call after it; 0 without one. */
    readonly recoveryMs: number;
    /** The longest from the end of a trouble to the end of the last call that it made fail. */
    readonly longestRecoveryMs: number;
    /** The share of the time of the plugins in which no failure was excused. */
    readonly strictShare: number;
  };
};

/** What a caller is told of a damaged object; `none` where the envelope itself sees the damage. */
const OF_DAMAGE: readonly string[] = ['InvalidArgument', 'none'];
const OF_A_MINIMUM: readonly string[] = ['PermissionDenied'];
const RECOVERY_LIMIT_MS = 10_000;

/** Checks a whole history. */
export function checkHistory(history: readonly HistoryEvent[]): Report {
  const calls = callsOf(history);
  const nodes = nodesOf(history);
  const troubles = new Map(nodes.map((node) => [node, troublesOf(history, node)]));
  const of = (call: Call): readonly Trouble[] => troubles.get(call.begin.node) ?? [];
  const excused = new Map<Trouble, number>();
  const violations: Violation[] = [];
  for (const call of calls) {
    const sentence = wrongWith(call, of(call), excused);
    if (sentence !== undefined) violations.push({ t: call.end.t, sentence });
  }
  const recoveryMs = recoveryOf(history, calls, of);
  if (recoveryMs > RECOVERY_LIMIT_MS)
    violations.push({ t: 0, sentence: `calls failed until ${recoveryMs} ms after the last fault` });
  violations.push(
    ...readBack(history, calls, nodes),
    ...checkKeyIds(calls),
    ...checkConvergence(calls, troubles),
    ...checkLateCalls(history, calls),
    ...nodes.flatMap((node) => checkStatus(history, calls, troubles.get(node) ?? [], node)),
    ...nodes.flatMap((node) => checkTokens(history, troubles.get(node) ?? [], node)),
    ...exits(history),
    ...unfinished(history, calls),
  );
  const last = history.at(-1)?.t ?? 0;
  const excusedMs = [...troubles.values()]
    .flat()
    .filter(({ kinds }) => [...kinds].some(excusesCalls))
    .reduce((sum, { from, until }) => sum + Math.min(until, last) - from, 0);
  return {
    violations: violations.sort((a, b) => a.t - b.t),
    numbers: {
      calls: calls.length,
      failed: calls.filter(({ end }) => end.code !== 'OK').length,
      faults: history.filter((event) => event.e === 'fault' && event.phase === 'begin').length,
      objects: calls.filter(isWritten).length,
      damagedReads: calls.filter(({ damaged }) => damaged).length,
      recoveryMs,
      longestRecoveryMs: Math.max(0, ...[...excused].map(([{ ended }, t]) => t - ended)),
      strictShare: nodes.length === 0 ? 0 : 1 - excusedMs / (last * nodes.length),
    },
  };
}

/** What is wrong with one call, seen for itself. */
function wrongWith(
  call: Call,
  troubles: readonly Trouble[],
  excused: Map<Trouble, number>,
): string | undefined {
  const { begin, end, damaged } = call;
  if (end.code === 'OK') return damaged ? `a damaged object was read: ${nameOf(call)}` : undefined;
  // What is wrong with the object is reported at any time.
  if (damaged && OF_DAMAGE.includes(end.code)) return undefined;
  if (call.belowMinimum && OF_A_MINIMUM.includes(end.code)) return undefined;
  const reason = explanation(troubles, begin, end);
  if (reason !== undefined) {
    if (isOwn(call)) excused.set(reason, Math.max(excused.get(reason) ?? 0, end.t));
    return undefined;
  }
  return damaged
    ? `a damaged object is not reported as such: ${nameOf(call)}`
    : `nothing explains it: ${nameOf(call)}`;
}

/** Each acknowledged write is read exactly, and in the end from every node. */
function readBack(
  history: readonly HistoryEvent[],
  calls: readonly Call[],
  nodes: readonly number[],
): readonly Violation[] {
  const found: Violation[] = [];
  const written = new Map<string, CallEnd>();
  const inSweep = new Map<string, Set<number>>();
  const sweep = phaseAt(history, 'sweep');
  for (const call of calls) {
    const { begin, end } = call;
    const object = begin.object ?? '';
    if (isWritten(call)) written.set(object, end);
    if (begin.op !== 'read') continue;
    const original = written.get(object);
    if (original === undefined) {
      found.push({ t: end.t, sentence: `read before it was written: ${nameOf(call)}` });
    } else if (end.code === 'OK') {
      if (end.sum !== original.sum)
        found.push({ t: end.t, sentence: `ANOTHER PLAINTEXT was read: ${nameOf(call)}` });
      if (sweep !== undefined && begin.t >= sweep) {
        const readers = inSweep.get(object) ?? new Set();
        inSweep.set(object, readers.add(begin.node));
      }
    }
  }
  if (phaseAt(history, 'stopped') === undefined) return found;
  for (const [object, { t }] of written) {
    const missing = nodes.filter((node) => inSweep.get(object)?.has(node) !== true);
    if (missing.length > 0)
      found.push({
        t,
        sentence: `LOST: ${object} was not read from plugin ${missing.join(', ')} at the end`,
      });
  }
  return found;
}

/** What kube-apiserver remembers is not the plugin's recovery. */
function isOwn({ begin }: Call): boolean {
  return begin.op !== 'healthz' && !(begin.api === 'v2' && begin.through === 'envelope');
}

/** Failures by what began only after the last fault, as an election on a busy machine, do not count. */
function recoveryOf(
  history: readonly HistoryEvent[],
  calls: readonly Call[],
  troublesOfCall: (call: Call) => readonly Trouble[],
): number {
  const calm = phaseAt(history, 'calm');
  if (calm === undefined) return 0;
  const late = calls.filter((call) => {
    const { begin, end, damaged } = call;
    if (!isOwn(call) || damaged || end.code === 'OK' || end.t <= calm) return false;
    const reason = explanation(troublesOfCall(call), begin, end);
    return reason === undefined || reason.from <= calm;
  });
  return Math.round(late.reduce((most, { end }) => Math.max(most, end.t - calm), 0));
}

function nodesOf(history: readonly HistoryEvent[]): readonly number[] {
  const nodes = history.flatMap((e) => (e.e === 'call' || e.e === 'process' ? [e.node] : []));
  return [...new Set(nodes)].sort();
}

function exits(history: readonly HistoryEvent[]): readonly Violation[] {
  return history.flatMap((event) =>
    event.e === 'process' && event.what === 'exit' && (event.by === undefined || isBadStop(event))
      ? [{ t: event.t, sentence: `plugin ${event.node} ended with ${event.how}` }]
      : [],
  );
}

function isBadStop({ by, how }: { readonly by?: string; readonly how?: string }): boolean {
  return by === 'stop' && how !== 'code 0';
}

function unfinished(
  history: readonly HistoryEvent[],
  calls: readonly Call[],
): readonly Violation[] {
  if (phaseAt(history, 'stopped') === undefined) return [];
  const ended = new Set(calls.map(({ begin }) => begin.id));
  return history.flatMap((event) =>
    event.e === 'call' && !ended.has(event.id)
      ? [{ t: event.t, sentence: `call ${event.id} to plugin ${event.node} never ended` }]
      : [],
  );
}
