/** One command of the program, described as data, so that help and more can be made from it. */

export type Command = {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  readonly usage: readonly string[];
  /** Its first word, where it has several; each is followed by one FILE. */
  readonly actions?: readonly string[];
  /** What it is for. */
  readonly description: string;
  readonly examples: readonly { readonly command: string; readonly what: string }[];
  /** By their long names. */
  readonly options: Readonly<Record<string, CommandOption>>;
  run(invocation: Invocation): Promise<ExitCode>;
};

export type CommandOption = {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  /** What stands for the value in help, e.g. `FILE`. */
  readonly value?: string;
  readonly what: string;
  readonly choices?: readonly string[];
};

export type Invocation = {
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  readonly positionals: readonly string[];
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** All of the program's. */
  readonly commands: readonly Command[];
  /** The text of standard input, for a command that was asked to read it. */
  readonly input: () => Promise<string | { readonly problem: string }>;
};

/** The option that every command has. */
export const HELP_OPTION: CommandOption = { type: 'boolean', short: 'h', what: 'print this help' };

/** What an option is for, with the values that it takes where the sentence does not name them by itself. */
export function purposeOf({ what, choices }: CommandOption): string {
  const named = choices === undefined || choices.every((choice) => what.includes(choice));
  return named ? what : `${what} (${choices.join(', ')})`;
}

/** Its options with `--help`, which all have. */
export function optionsOf(command: Command): readonly (readonly [string, CommandOption])[] {
  return Object.entries({ ...command.options, help: HELP_OPTION });
}

/** How the program ends: well, with what it was asked failing, or because the call or configuration is wrong. */
export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What is configured where no `--config` says otherwise, as the packages lay it out. */
export const DEFAULT_CONFIG = '/etc/trousseau/config.yaml';

/** The `--output` that commands have which answer something. */
export const OUTPUT_OPTION: CommandOption = {
  type: 'string',
  short: 'o',
  value: 'FORMAT',
  what: 'text (default) or json',
  choices: ['text', 'json'],
};
