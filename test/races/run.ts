/** Runs rounds of the races one after the other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { roundOf } from './plan.ts';
import { startRacers } from './processes.ts';
import { runRound } from './round.ts';

export type RunOptions = {
  readonly seed: number;
  /** The number of the first round, and of the one after the last. */
  readonly from: number;
  readonly to: number;
  /** Called after each round, with what was wrong. */
  readonly played: (number: number, problems: readonly string[]) => void;
};

/** Four at most in a round, one for its end, and as many again for those that are killed. */
const PROCESSES = 8;

export async function runRounds({ seed, from, to, played }: RunOptions): Promise<void> {
  const places = { disk: tmpdir(), memory: '/dev/shm' };
  const racers = startRacers(PROCESSES);
  try {
    for (let number = from; number < to; number += 1) {
      const round = roundOf(seed, number);
      const folder = mkdtempSync(join(places[round.place], 'trousseau-races-'));
      try {
        played(number, await runRound(round, folder, racers));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }
  } finally {
    await racers.stop();
  }
}
