/** Nothing is left behind in Vault: tokens granted = tokens in use + tokens revoked. Pure. */
import type { Violation } from './calls.ts';
import type { HistoryEvent, NodeIndex, ProcessEvent } from './history.ts';
import type { Trouble } from './reasons.ts';

/** One in use, and one whose login was under way. */
const MOST_OF_A_KILLED_LIFE = 2;

/**
 * Checks the tokens of one plugin that Vault has after all have been stopped. A process that was killed
 * cannot revoke what it has, nor one that is stopped while it cannot use Vault.
 */
export function checkTokens(
  history: readonly HistoryEvent[],
  troubles: readonly Trouble[],
  node: NodeIndex,
): readonly Violation[] {
  const left = history.filter((event) => event.e === 'token').filter((t) => t.node === node);
  const lives = livesOf(history, node);
  return lives.flatMap(({ from, to, next, exit }) => {
    const own = left.filter(({ granted }) => granted >= from && granted < next);
    const inTrouble = troubles.some((trouble) => trouble.from <= to && trouble.until >= to);
    const allowed = exit?.by === 'stop' && !inTrouble ? 0 : MOST_OF_A_KILLED_LIFE;
    if (own.length <= allowed) return [];
    const how = exit === undefined ? 'still runs' : `ended by ${exit.by ?? exit.how}`;
    const sentence = `plugin ${node}, started at ${Math.round(from)} ms and ${how} at ${Math.round(to)} ms, left ${own.length} tokens in Vault`;
    return [{ t: to, sentence }];
  });
}

type Life = {
  readonly from: number;
  readonly to: number;
  /** When the next process was started: what Vault granted before that was asked for by this one. */
  readonly next: number;
  readonly exit: ProcessEvent | undefined;
};

/** From each start to the exit that follows. */
function livesOf(history: readonly HistoryEvent[], node: NodeIndex): readonly Life[] {
  const own = history
    .filter((event) => event.e === 'process')
    .filter((event) => event.node === node);
  const starts = own.filter(({ what }) => what === 'start');
  return starts.map(({ t }, i) => {
    const next = starts[i + 1]?.t ?? Number.POSITIVE_INFINITY;
    const exit = own.find((event) => event.what === 'exit' && event.t >= t && event.t <= next);
    return { from: t, to: exit?.t ?? next, next, exit };
  });
}
