/** What happens in a round, from a seed and its number alone. Pure. */
import { randomOf } from '../robustness/schedule.ts';

/** `pause` and `resume` are SIGSTOP and SIGCONT; `kill` is SIGKILL. */
export type Action = 'start' | 'stop' | 'kill' | 'pause' | 'resume';
/** What somebody does to the files; `empty` removes the names beside the path too. */
export type Disturbance = 'remove path' | 'empty' | 'replace directory' | 'remove directory';

export type Step = { readonly atMs: number } & (
  | { readonly kind: 'process'; readonly which: number; readonly action: Action }
  | { readonly kind: 'files'; readonly what: Disturbance }
);

export type Round = {
  readonly place: 'disk' | 'memory';
  /** What lies in the directory at the beginning. */
  readonly before: 'nothing' | 'stale' | 'left over';
  readonly processes: number;
  /** In the order of time. */
  readonly steps: readonly Step[];
};

const MOST_PROCESSES = 4;
const LENGTH_MS = 30;
const PAUSE_MS = 15;
const DISTURBED = 0.4;
const DISTURBANCES = ['remove path', 'empty', 'replace directory', 'remove directory'] as const;
const BEFORE = ['nothing', 'stale', 'left over'] as const;

/** The round with this number of the run with this seed. */
export function roundOf(seed: number, number: number): Round {
  const random = randomOf(seed * 1_000_003 + number);
  const upTo = (count: number): number => Math.floor(random() * count);
  const processes = 2 + upTo(MOST_PROCESSES - 1);
  const steps: Step[] = [];
  for (let which = 0; which < processes; which += 1) {
    // Half of them begin at once: that is where they race.
    const startMs = random() < 0.5 ? 0 : upTo(LENGTH_MS);
    const step = (atMs: number, action: Action): void =>
      void steps.push({ atMs, kind: 'process', which, action });
    step(startMs, 'start');
    const laterMs = startMs + upTo(LENGTH_MS);
    const fate = random();
    if (fate < 0.25) step(laterMs, 'stop');
    else if (fate < 0.45) step(laterMs, 'kill');
    else if (fate < 0.6) {
      step(laterMs, 'pause');
      step(laterMs + PAUSE_MS, 'resume');
    }
  }
  if (random() < DISTURBED) {
    const what = DISTURBANCES[upTo(DISTURBANCES.length)] ?? 'remove path';
    steps.push({ atMs: upTo(2 * LENGTH_MS), kind: 'files', what });
  }
  return {
    place: random() < 0.5 ? 'disk' : 'memory',
    before: BEFORE[upTo(BEFORE.length)] ?? 'nothing',
    processes,
    steps: steps.sort((a, b) => a.atMs - b.atMs),
  };
}

/** Whether the names that hold the claims stay, so that two can never serve at a time. */
export function keepsClaims({ steps }: Round): boolean {
  return steps.every((step) => step.kind === 'process' || step.what === 'remove path');
}

/** Whether one of them must serve at the end: nobody was stopped or hindered. */
export function mustServe({ steps }: Round): boolean {
  return steps.every((step) => step.kind === 'process' && step.action === 'start');
}
