/** Finds the command, reads its options, and helps where either is not known. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { nearest } from '../config/nearest.ts';
import { VERSION } from '../version.ts';
import {
  type Command,
  type CommandOption,
  EXIT,
  type ExitCode,
  HELP_OPTION,
  type Invocation,
} from './command.ts';
import { commandHelp, programHelp } from './help.ts';
import { printed } from './printed.ts';

const PROGRAM_OPTIONS = ['--help', '--version', '-h', '-V'];

/** Runs the command that the arguments name; answers the exit code. */
export async function runProgram(
  commands: readonly Command[],
  argv: readonly string[],
  io: Pick<Invocation, 'out' | 'err' | 'env' | 'input'>,
): Promise<ExitCode> {
  const [name, ...rest] = argv;
  if (name === undefined) {
    io.err(programHelp(commands));
    return EXIT.usage;
  }
  if (name === '--version' || name === '-V') {
    io.out(`trousseau ${VERSION}\n`);
    return EXIT.ok;
  }
  if (name === '--help' || name === '-h' || (name === 'help' && rest.length === 0)) {
    io.out(programHelp(commands));
    return EXIT.ok;
  }
  const wanted = name === 'help' ? (rest[0] ?? '') : name;
  const command = commands.find((known) => known.name === wanted);
  if (command === undefined) {
    const isOption = wanted.startsWith('-');
    const later = isOption && rest.some((word) => commands.some((one) => one.name === word));
    if (later) {
      io.err(
        'options stand behind the command: trousseau COMMAND [OPTIONS]; see trousseau --help\n',
      );
      return EXIT.usage;
    }
    io.err(
      unknown(
        isOption ? 'option' : 'command',
        wanted,
        isOption ? PROGRAM_OPTIONS : commands.map((known) => known.name),
        'trousseau --help',
      ),
    );
    return EXIT.usage;
  }
  if (name === 'help') {
    io.out(commandHelp(command));
    return EXIT.ok;
  }
  const parsed = parseOptions(command, rest);
  if ('problem' in parsed) {
    io.err(parsed.problem);
    return EXIT.usage;
  }
  if (parsed.options['help'] === true) {
    io.out(commandHelp(command));
    return EXIT.ok;
  }
  return await command.run({ ...io, commands, ...parsed });
}

type Parsed = Pick<Invocation, 'options' | 'positionals'>;

function parseOptions(command: Command, args: readonly string[]): Parsed | { problem: string } {
  const known: Readonly<Record<string, CommandOption>> = { ...command.options, help: HELP_OPTION };
  const options: NonNullable<ParseArgsConfig['options']> = {};
  for (const [name, { type, short }] of Object.entries(known)) {
    options[name] = short === undefined ? { type } : { type, short };
  }
  const more = `trousseau ${command.name} --help`;
  let values: Parsed['options'];
  let positionals: readonly string[];
  try {
    const parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
    values = parsed.values as Parsed['options'];
    positionals = parsed.positionals;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined || !code.startsWith('ERR_PARSE_ARGS')) throw error;
    const names = Object.keys(known).map((name) => `--${name}`);
    const option = /Unknown option '([^']*)'/.exec(message)?.[1];
    if (option !== undefined) return { problem: unknown('option', option, names, more) };
    const [, about = '', value] = /--([a-z-]+)( <value>)?'/.exec(message) ?? [];
    const needs = known[about]?.type === 'string' || value !== undefined;
    const what = needs
      ? `--${about} needs a value: ${known[about]?.value ?? 'TEXT'} (one that begins with a dash: --${about}=-...)`
      : `--${about} takes no value`;
    return { problem: `${what}; see ${more}\n` };
  }
  const empty = Object.entries(values).find(([, value]) => value === '');
  if (empty !== undefined)
    return { problem: `--${empty[0]} needs a value that is not empty; see ${more}\n` };
  for (const [name, { choices }] of Object.entries(known)) {
    const value = values[name];
    if (typeof value === 'string' && choices !== undefined && !choices.includes(value)) {
      return { problem: `--${name} must be one of ${choices.join(', ')}; see ${more}\n` };
    }
  }
  return { options: values, positionals };
}

function unknown(
  kind: 'command' | 'option',
  word: string,
  known: readonly string[],
  more: string,
): string {
  const near = nearest(word, known);
  const meant = near === undefined ? '' : ` (did you mean ${near}?)`;
  return `there is no ${kind} ${printed(word)}${meant}; see ${more}\n`;
}
