import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runDaemonRounds } from './daemons.ts';
import { roundOf } from './plan.ts';
import { runRounds } from './run.ts';

const SEED = 11;
const ROUNDS = 60;
const DAEMON_ROUNDS = 4;

describe('processes that start, stop and are killed on one path', () => {
  it(`are one at most and right about themselves, in ${ROUNDS} rounds on disk and in memory`, async () => {
    const wrong: string[] = [];
    let rounds = 0;
    await runRounds({
      ...{ seed: SEED, from: 0, to: ROUNDS },
      played(number, problems) {
        rounds += 1;
        for (const problem of problems) wrong.push(`round ${number}: ${problem}`);
      },
    });
    assert.deepEqual([rounds, wrong], [ROUNDS, []]);
  });

  it('meet every kind of disturbance within these rounds', () => {
    const rounds = Array.from({ length: ROUNDS }, (_, number) => roundOf(SEED, number));
    const kinds = new Set(
      rounds.flatMap(({ place, before, steps }) => [
        place,
        before,
        ...steps.map((step) => (step.kind === 'files' ? step.what : step.action)),
      ]),
    );
    assert.deepEqual([...kinds].sort(), [
      ...['disk', 'empty', 'kill', 'left over', 'memory', 'nothing', 'pause', 'remove directory'],
      ...['remove path', 'replace directory', 'resume', 'stale', 'start', 'stop'],
    ]);
  });

  it(`are one at most as whole daemons too, in ${DAEMON_ROUNDS} rounds`, async () => {
    const wrong: string[] = [];
    let rounds = 0;
    await runDaemonRounds(SEED, DAEMON_ROUNDS, (number, problems) => {
      rounds += 1;
      for (const problem of problems) wrong.push(`round ${number}: ${problem}`);
    });
    assert.deepEqual([rounds, wrong], [DAEMON_ROUNDS, []]);
  });
});
