/** Help for people: starts with what a command is for, ends with examples. */
import { type Command, optionsOf, purposeOf } from './command.ts';

/** The list of commands. */
export function programHelp(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  const list = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `Trousseau keeps the Secrets of a Kubernetes cluster encrypted by a key that it never holds itself.

Usage: trousseau COMMAND [OPTIONS]

Commands:
${list.join('\n')}

Options:
  -h, --help     print this help
  -V, --version  print the version

trousseau COMMAND --help says more of one.
`;
}

/** One command, whole. */
export function commandHelp(command: Command): string {
  const { usage, description, examples } = command;
  const rows = optionsOf(command).map(([name, option]) => {
    const short = option.short === undefined ? '    ' : `-${option.short}, `;
    const value = option.value === undefined ? '' : ` ${option.value}`;
    return [`  ${short}--${name}${value}`, purposeOf(option)] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  const shown = examples.map(({ command, what }) => `  # ${what}\n  ${command}`);
  return `${description}

Usage:
${usage.map((line) => `  ${line}`).join('\n')}

Options:
${rows.map(([left, what]) => `${left.padEnd(width)}  ${what}`).join('\n')}

Examples:
${shown.join('\n\n')}
`;
}
