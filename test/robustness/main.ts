/**
 * `make robustness`: three plugins on a Vault of three servers, called by Kubernetes' own code, under
 * faults that a seed chooses. Ends with 1 where the history is not what it must be.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect, parseArgs } from 'node:util';
import { PROGRAM } from '../servers/plugin.ts';
import { checkHistory, type Report } from './checker.ts';
import { parseHistory } from './history.ts';
import { linesOf } from './report.ts';
import { run } from './run.ts';

const USAGE = `usage: main.ts [--minutes N] [--seed N] [--program FILE] [--history FILE]
       main.ts --check FILE

Brings faults for so many minutes (30), chosen by a seed (the time of day), and writes the history of
all calls and faults to a file (build/robustness/SEED.jsonl). --check reads a history again.
`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: String(Math.floor(Date.now() / 1000) % 1_000_000) },
    program: { type: 'string', default: PROGRAM },
    history: { type: 'string' },
    check: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];

if (values.help || !(minutes > 0) || !Number.isSafeInteger(seed)) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}
if (values.check === undefined) {
  const file = values.history ?? join(import.meta.dirname, `../../build/robustness/${seed}.jsonl`);
  const passed = await run({ seed, minutes, program: values.program, file, say }).then(
    ({ events }) => report(checkHistory(events)),
    (error: unknown) => {
      say(
        'the run ended early: a server, a plugin or a fault could not be brought where it must be',
      );
      for (const cause of causesOf(error)) say(inspect(cause));
      return false;
    },
  );
  say(`history: ${file}`);
  if (!passed) say(`again: make robustness MINUTES=${minutes} SEED=${seed}`);
  process.exitCode = passed ? 0 : 1;
} else {
  const history = parseHistory(readFileSync(values.check, 'utf8'));
  process.exitCode = report(checkHistory(history)) ? 0 : 1;
}

/** An error, and those that were thrown while its resources were given back: the first one first. */
function causesOf(error: unknown): readonly unknown[] {
  if (!(error instanceof SuppressedError)) return [error];
  return [...causesOf(error.suppressed), ...causesOf(error.error)];
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Prints the result; answers whether there is no violation. */
function report(result: Report): boolean {
  for (const line of linesOf(result)) say(line);
  return result.violations.length === 0;
}
