/** `make races`: starts and stops of many processes on one path, from a seed; ends with 1 where one is wrong. */
import { parseArgs } from 'node:util';
import { runDaemonRounds } from './daemons.ts';
import { roundOf } from './plan.ts';
import { runRounds } from './run.ts';

const USAGE = `usage: main.ts [--rounds N] [--seed N] [--round N]

Plays so many rounds (1000), chosen by a seed (the time of day), or one of them alone.
`;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Math.floor(Date.now() / 1000) % 1_000_000) },
    /** One round alone, to see it again. */
    round: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
/** A whole daemon takes seconds, a process of the races milliseconds. */
const ROUNDS_PER_DAEMON_ROUND = 100;
const EVERY = 100;

const [seed, rounds] = [Number(values.seed), Number(values.rounds)];
const only = values.round === undefined ? undefined : Number(values.round);
const isCount = (number: number): boolean => Number.isSafeInteger(number) && number >= 0;
if (values.help || rounds === 0 || ![seed, rounds, only ?? 0].every(isCount)) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}
let wrong = 0;
const report = (what: string, problems: readonly string[]): void => {
  for (const problem of problems) console.log(`${what}: ${problem}`);
  if (problems.length > 0) wrong += 1;
};
await runRounds({
  seed,
  from: only ?? 0,
  to: only === undefined ? rounds : only + 1,
  played(number, problems) {
    report(`round ${number}`, problems);
    if (problems.length > 0) {
      console.log(JSON.stringify(roundOf(seed, number)));
      console.log(`again: node test/races/main.ts --seed ${seed} --round ${number}`);
    }
    if ((number + 1) % EVERY === 0) console.log(`${number + 1} rounds, ${wrong} wrong`);
  },
});
const daemonRounds = only === undefined ? Math.ceil(rounds / ROUNDS_PER_DAEMON_ROUND) : 0;
await runDaemonRounds(seed, daemonRounds, (number, problems) =>
  report(`round ${number} of whole daemons`, problems),
);
console.log(`${rounds} rounds and ${daemonRounds} of whole daemons, seed ${seed}: ${wrong} wrong`);
process.exitCode = wrong > 0 ? 1 : 0;
