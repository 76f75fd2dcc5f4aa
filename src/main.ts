/** Runs the program; nothing else. */
import { COMMANDS } from './cli/commands.ts';
import { exitProcess } from './cli/exit.ts';
import { writeOutput } from './cli/output.ts';
import { runProgram } from './cli/run.ts';
import { readStandardInput } from './cli/standard-input.ts';

const output = writeOutput(process.stdout, process.stderr);

void runProgram(COMMANDS, process.argv.slice(2), {
  ...output,
  env: process.env,
  input: readStandardInput,
})
  .then((code) => output.end(code))
  .then(exitProcess);
