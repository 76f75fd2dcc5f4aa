/** Status agrees with what calls get. Pure. */
import { type Call, nameOf, type Violation } from './calls.ts';
import type { HistoryEvent, NodeIndex } from './history.ts';
import { type Trouble, waitsForLogin } from './reasons.ts';

/** So long, and so often, calls fail before Status must have said so. */
const SILENT_MS = 6_000;
const SILENT_CALLS = 8;
/** Status must have noticed by then, and is asked so often before anything is concluded. */
const NOTICE_MS = 3_000;
const LEAST_STATUSES = 5;

/** Checks one node. */
export function checkStatus(
  history: readonly HistoryEvent[],
  calls: readonly Call[],
  troubles: readonly Trouble[],
  node: NodeIndex,
): readonly Violation[] {
  const own = calls.filter(({ begin }) => begin.node === node);
  const statuses = own.filter(({ begin }) => begin.op === 'status');
  return [
    ...unexplainedHealth(statuses, troubles),
    ...errorInAnOutage(history, statuses, troubles, node),
    ...silence(own, statuses),
  ];
}

/** Status that tells of trouble while there is none. */
function unexplainedHealth(
  statuses: readonly Call[],
  troubles: readonly Trouble[],
): readonly Violation[] {
  return statuses
    .filter(({ end }) => end.code === 'OK' && end.healthz !== 'ok')
    .filter((call) => !isExcused(troubleAt(troubles, call)))
    .filter(({ begin, end }) => !troubles.some((trouble) => waitsForLogin(trouble, begin, end)))
    .map((call) => {
      const sentence = `Status says "${call.end.healthz}", and nothing explains it: ${nameOf(call)}`;
      return { t: call.end.t, sentence };
    });
}

/** In an outage Status keeps its key_id: only a plugin that has just started, or was refused, has none. */
function errorInAnOutage(
  history: readonly HistoryEvent[],
  statuses: readonly Call[],
  troubles: readonly Trouble[],
  node: NodeIndex,
): readonly Violation[] {
  const starts = history.filter(
    (event) => event.e === 'process' && event.node === node && event.what === 'start',
  );
  return statuses
    .filter(({ end }) => end.code !== 'OK')
    .flatMap((call) => {
      const trouble = troubleAt(troubles, call);
      if (trouble === undefined || trouble.kinds.has('denied') || trouble.kinds.has('down'))
        return []; // explained, or reported as a call that nothing explains
      // One that was started shortly before has not reached Vault yet.
      const fresh = starts.some(({ t }) => t > trouble.from - NOTICE_MS && t < call.end.t);
      if (fresh) return [];
      return [{ t: call.end.t, sentence: `Status lost its key_id in an outage: ${nameOf(call)}` }];
    });
}

/** Nothing is served for seconds, and Status is ok all along. */
function silence(own: readonly Call[], statuses: readonly Call[]): readonly Violation[] {
  const found: Violation[] = [];
  const asking = own.filter(
    ({ begin, damaged }) =>
      !damaged &&
      (begin.op === 'read' || begin.op === 'write') &&
      !(begin.api === 'v2' && begin.through === 'envelope'),
  );
  let streak: Call[] = [];
  const check = (): void => {
    const [first, last] = [streak[0], streak.at(-1)];
    const count = streak.length;
    streak = [];
    if (first === undefined || last === undefined || count < SILENT_CALLS) return;
    if (last.end.t - first.begin.t < SILENT_MS) return;
    const meanwhile = statuses.filter(
      ({ begin, end }) => begin.t > first.begin.t + NOTICE_MS && end.t < last.end.t,
    );
    const silent = meanwhile.every(({ end }) => end.code === 'OK' && end.healthz === 'ok');
    // An answer from before that time says nothing: Status may have changed since.
    const latest = meanwhile.at(-1)?.begin.t ?? 0;
    if (latest < first.begin.t + SILENT_MS) return;
    if (meanwhile.length >= LEAST_STATUSES && silent) {
      const sentence = `${count} calls failed in ${Math.round(last.end.t - first.begin.t)} ms and none was served, and Status was ok: ${nameOf(first)}`;
      found.push({ t: last.end.t, sentence });
    }
  };
  for (const call of asking) {
    if (call.end.code === 'Unavailable' || call.end.code === 'DeadlineExceeded') streak.push(call);
    else check();
  }
  check();
  return found;
}

/** A rotation alone is no trouble of Status. */
function isExcused(trouble: Trouble | undefined): boolean {
  return trouble !== undefined && [...trouble.kinds].some((kind) => kind !== 'rotated');
}

function troubleAt(troubles: readonly Trouble[], { begin, end }: Call): Trouble | undefined {
  return troubles.find(({ from, until }) => from <= end.t && until >= begin.t);
}
