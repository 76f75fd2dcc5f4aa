/** Short histories for the tests of the checker. */
import type { CallBegin, CallEnd, FaultEvent, HistoryEvent } from '../../robustness/history.ts';

type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;
/** An event with its time. */
export type At = readonly [t: number, event: Without<HistoryEvent, 't'>];

const ID = 'id';

/** Sorted by time; events of one time stay in their order. */
export function historyOf(...parts: readonly (readonly At[])[]): readonly HistoryEvent[] {
  return parts
    .flat()
    .map(([t, event]) => ({ t, ...event }) as HistoryEvent)
    .sort((a, b) => a.t - b.t);
}

/** Three servers that are up from the start. */
export function servers(...ups: readonly (readonly [server: number, from: number, to: number])[]) {
  const all: At[] = [0, 1, 2].flatMap((server): At[] => [
    [0, { e: 'vault', server, up: false, since: 0 }],
    [0, { e: 'vault', server, up: true, since: 0 }],
  ]);
  for (const [server, from, to] of ups) {
    all.push([from, { e: 'vault', server, up: false, since: from }]);
    all.push([to, { e: 'vault', server, up: true, since: to }]);
  }
  return all;
}

export function fault(
  [from, to]: readonly [number, number],
  kind: FaultEvent['kind'],
  detail: Partial<Pick<FaultEvent, 'node' | 'server' | 'minimum'>> = {},
): readonly At[] {
  const id = 1e6 + from;
  return [
    [from, { e: 'fault', [ID]: id, kind, phase: 'begin', ...detail }],
    [to, { e: 'fault', [ID]: id, kind, phase: 'end', ...detail }],
  ];
}

let ids = 0;

/** A call of plugin 0, KMS v2 through the service, unless it is said otherwise. */
export function call(
  [from, to]: readonly [number, number],
  op: CallBegin['op'],
  end: Partial<Omit<CallEnd, 'e' | 't' | 'id'>> = {},
  begin: Partial<Omit<CallBegin, 'e' | 't' | 'id' | 'op'>> = {},
): readonly At[] {
  ids += 1;
  const id = ids;
  const defaults = { node: 0, client: '1.36', api: 'v2', through: 'service' } as const;
  return [
    [from, { e: 'call', id, op, ...defaults, ...begin }],
    [to, { e: 'end', id, code: 'OK', ...end }],
  ];
}

/** An object that was written with version 1. */
export function written(object: string, t = 10): readonly At[] {
  return call(
    [t, t + 5],
    'write',
    { sum: `sum of ${object}`, version: 1, keyId: 'k1' },
    { object },
  );
}

export function read(
  object: string,
  [from, to]: readonly [number, number],
  end: Partial<Omit<CallEnd, 'e' | 't' | 'id'>> = { sum: `sum of ${object}` },
  begin: Partial<Omit<CallBegin, 'e' | 't' | 'id' | 'op'>> = {},
): readonly At[] {
  return call([from, to], 'read', end, { object, ...begin });
}

export function status(
  [from, to]: readonly [number, number],
  version: number,
  end: Partial<Omit<CallEnd, 'e' | 't' | 'id'>> = {},
): readonly At[] {
  return call([from, to], 'status', { healthz: 'ok', version, keyId: `k${version}`, ...end });
}
