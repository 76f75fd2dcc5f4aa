/** Picks the command; nothing else. */
import { benchCommand } from './cli/bench.ts';
import { completionCommand } from './cli/completion.ts';
import { configCommand } from './cli/config.ts';
import { exitProcess } from './cli/exit.ts';
import { keyringCommand } from './cli/keyring.ts';
import { licensesCommand } from './cli/licenses.ts';
import { writeOutput } from './cli/output.ts';
import { preflightCommand } from './cli/preflight.ts';
import { reloadCommand } from './cli/reload-command.ts';
import { runProgram } from './cli/run.ts';
import { serveCommand } from './cli/serve.ts';
import { versionCommand } from './cli/version.ts';
import { readStream } from './config/load.ts';

const commands = [
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

const output = writeOutput(process.stdout, process.stderr);

void runProgram(commands, process.argv.slice(2), {
  ...output,
  env: process.env,
  input: () => readStream(process.stdin),
})
  .then((code) => output.end(code))
  .then(exitProcess);
