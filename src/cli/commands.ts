/** All commands of the program, in the order in which its help names them. */
import { benchCommand } from './bench.ts';
import type { Command } from './command.ts';
import { completionCommand } from './completion.ts';
import { configCommand } from './config.ts';
import { keyringCommand } from './keyring.ts';
import { licensesCommand } from './licenses.ts';
import { preflightCommand } from './preflight.ts';
import { reloadCommand } from './reload-command.ts';
import { serveCommand } from './serve.ts';
import { versionCommand } from './version.ts';

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
