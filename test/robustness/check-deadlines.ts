/** No call outlives its deadline. Pure. */
import { type Call, nameOf, type Violation } from './calls.ts';
import type { HistoryEvent } from './history.ts';

/** As in the EncryptionConfiguration. */
export const DEADLINE_MS = 3_000;
const TOLERANCE_MS = 100;

/** What the test and its client were late themselves, measured at the same time, is allowed for. */
export function checkLateCalls(
  history: readonly HistoryEvent[],
  calls: readonly Call[],
): readonly Violation[] {
  const lags = history.filter((event) => event.e === 'lag');
  return calls.filter(isLate).flatMap((call) => {
    const { begin, end } = call;
    const own = lags
      .filter(({ t, ms }) => t >= begin.t && t - ms <= end.t + TOLERANCE_MS)
      .reduce((sum, { ms }) => sum + ms, 0);
    const overMs = end.t - begin.t - DEADLINE_MS;
    if (overMs <= TOLERANCE_MS + own) return [];
    const sentence = `${Math.round(overMs)} ms after its deadline, ${Math.round(own)} ms of it the test's own: ${nameOf(call)}`;
    return [{ t: end.t, sentence }];
  });
}

/** Loading a configuration and a health check make several requests. */
function isLate({ begin, end }: Call): boolean {
  if (begin.op === 'load' || begin.op === 'healthz') return false;
  return end.t - begin.t > DEADLINE_MS + TOLERANCE_MS;
}
