/** The program as main.ts puts it together, run within the test. */
import { configCommand } from '../../../src/cli/config.ts';
import { keyringCommand } from '../../../src/cli/keyring.ts';
import { runProgram } from '../../../src/cli/run.ts';
import { serveCommand } from '../../../src/cli/serve.ts';
import { versionCommand } from '../../../src/cli/version.ts';

export const COMMANDS = [serveCommand, configCommand, keyringCommand, versionCommand];

/** How it ended, and what it said where. */
export type Outcome = { readonly code: number; readonly out: string; readonly err: string };

/** Runs `trousseau` with these arguments and nothing in its environment. */
export async function trousseau(...argv: readonly string[]): Promise<Outcome> {
  const said = { out: '', err: '' };
  const code = await runProgram(COMMANDS, argv, {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    env: {},
  });
  return { code, ...said };
}
