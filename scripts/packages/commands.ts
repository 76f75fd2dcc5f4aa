/** The program's commands as data, for what is made from them: man pages and completions. */
import { globSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, EXIT } from '../../src/cli/command.ts';

/** Every command that a file of src/cli exports, by name; a test compares them with `trousseau help`. */
export async function allCommands(): Promise<readonly Command[]> {
  const found: Command[] = [];
  for (const file of globSync('src/cli/*.ts').sort()) {
    const exported = (await import(resolve(file))) as Record<string, unknown>;
    found.push(...Object.values(exported).filter(isCommand));
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export const EXIT_CODES: readonly (readonly [number, string])[] = [
  [EXIT.ok, 'What was asked for is done; serve was stopped and has ended cleanly.'],
  [EXIT.failure, 'It failed: a socket or a file cannot be had, or what was asked is not so.'],
  [EXIT.usage, 'The command line or the configuration is wrong.'],
];

function isCommand(value: unknown): value is Command {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    'usage' in value &&
    'options' in value &&
    'run' in value
  );
}
