/** The program as main.ts puts it together, run within the test. */
import { COMMANDS } from '../../../src/cli/commands.ts';
import { runProgram } from '../../../src/cli/run.ts';

/** How it ended, and what it said where. */
export type Outcome = { readonly code: number; readonly out: string; readonly err: string };

/** Runs `trousseau` with these arguments, nothing in its environment and nothing to read. */
export function trousseau(...argv: readonly string[]): Promise<Outcome> {
  return trousseauReading('', ...argv);
}

/** The same, with this text as standard input. */
export async function trousseauReading(
  input: string | { readonly problem: string },
  ...argv: readonly string[]
): Promise<Outcome> {
  const said = { out: '', err: '' };
  const code = await runProgram(COMMANDS, argv, {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    env: {},
    input: () => Promise.resolve(input),
  });
  return { code, ...said };
}
