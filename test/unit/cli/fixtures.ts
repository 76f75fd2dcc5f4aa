/** The program as main.ts puts it together, run within the test. */
import { benchCommand } from '../../../src/cli/bench.ts';
import type { Command } from '../../../src/cli/command.ts';
import { completionCommand } from '../../../src/cli/completion.ts';
import { configCommand } from '../../../src/cli/config.ts';
import { keyringCommand } from '../../../src/cli/keyring.ts';
import { licensesCommand } from '../../../src/cli/licenses.ts';
import { preflightCommand } from '../../../src/cli/preflight.ts';
import { reloadCommand } from '../../../src/cli/reload-command.ts';
import { runProgram } from '../../../src/cli/run.ts';
import { serveCommand } from '../../../src/cli/serve.ts';
import { versionCommand } from '../../../src/cli/version.ts';

export const COMMANDS: readonly Command[] = [
  serveCommand,
  configCommand,
  keyringCommand,
  preflightCommand,
  reloadCommand,
  benchCommand,
  licensesCommand,
  completionCommand,
  versionCommand,
];

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
