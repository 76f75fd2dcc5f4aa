/** The calls of a history, each with what was true meanwhile. Pure. */
import type { CallBegin, CallEnd, HistoryEvent, Phase } from './history.ts';

/** Something that must not be, at `t`. */
export type Violation = { readonly t: number; readonly sentence: string };

/** A call with its end. */
export type Call = {
  readonly begin: CallBegin;
  readonly end: CallEnd;
  /** The bytes that it was given were damaged. */
  readonly damaged: boolean;
  /** It reads what was written with a version below a minimum that was in force during the call. */
  readonly belowMinimum: boolean;
};

/** Every call that has ended, in the order of their ends. */
export function callsOf(history: readonly HistoryEvent[]): readonly Call[] {
  type Open = { readonly begin: CallBegin; readonly damaged: boolean; readonly minimum: number };
  const open = new Map<number, Open>();
  const versions = new Map<string, number>();
  const damaged = new Set<string>();
  const minimums = new Map<number, number>();
  const calls: Call[] = [];
  for (const event of history) {
    if (event.e === 'damage') damaged[event.damaged ? 'add' : 'delete'](event.object);
    if (event.e === 'fault' && event.minimum !== undefined) {
      if (event.phase === 'end') minimums.delete(event.id);
      else {
        minimums.set(event.id, event.minimum);
        for (const [id, call] of open)
          open.set(id, { ...call, minimum: Math.max(call.minimum, event.minimum) });
      }
    }
    if (event.e === 'call') {
      const isDamaged = event.op === 'read' && damaged.has(event.object ?? '');
      const minimum = Math.max(0, ...minimums.values());
      open.set(event.id, { begin: event, damaged: isDamaged, minimum });
    }
    if (event.e === 'end') {
      const call = open.get(event.id);
      open.delete(event.id);
      if (call === undefined) continue;
      const { begin, minimum } = call;
      const object = begin.object ?? '';
      // One without a version was encrypted under a local KEK, whose source has one.
      const belowMinimum = begin.op === 'read' && (versions.get(object) ?? 0) < minimum;
      calls.push({ begin, damaged: call.damaged, belowMinimum, end: event });
      if (begin.op === 'write' && event.version !== undefined) versions.set(object, event.version);
    }
  }
  return calls;
}

export function isWritten({ begin, end }: Call): boolean {
  return begin.op === 'write' && end.code === 'OK';
}

/** How a call is shown in a sentence. */
export function nameOf({ begin, end }: Call): string {
  const { id, node, client, api, through, op, object } = begin;
  const what = `${op} ${api} ${through}${object === undefined ? '' : ` of ${object}`}`;
  const error = end.error === undefined ? '' : `: ${end.error}`;
  return `call ${id} (plugin ${node}, client ${client}, ${what}, ${Math.round(end.t - begin.t)} ms) ended with ${end.code}${error}`;
}

/** When it began; undefined where the history does not reach it. */
export function phaseAt(
  history: readonly HistoryEvent[],
  phase: Phase['phase'],
): number | undefined {
  return history.find((event) => event.e === 'phase' && event.phase === phase)?.t;
}
