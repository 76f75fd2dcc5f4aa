/** `trousseau completion`: lets a shell complete the words of the program. */
import { type Command, EXIT, type ExitCode } from './command.ts';
import { bashCompletion, fishCompletion, zshCompletion } from './completions.ts';
import { printed } from './printed.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

export const completionCommand: Command = {
  name: 'completion',
  summary: 'print the completion for a shell',
  usage: [`trousseau completion ${SHELLS.join('|')}`],
  actions: SHELLS,
  description:
    'Prints a script that lets the shell complete commands, actions, options and file names. The\n' +
    'packages bring these scripts for all users.',
  examples: [
    { command: 'source <(trousseau completion bash)', what: 'in this shell' },
    {
      command: 'trousseau completion bash > /etc/bash_completion.d/trousseau',
      what: 'for all users',
    },
    { command: 'trousseau completion fish | source', what: 'in fish' },
  ],
  options: {},
  async run({ positionals, commands, out, err }): Promise<ExitCode> {
    const [word, ...tooMany] = positionals;
    const shell = SHELLS.find((name) => name === word);
    if (shell !== undefined && tooMany.length === 0) {
      out(script(shell, commands));
      return EXIT.ok;
    }
    const unknown = word === undefined || shell !== undefined;
    const what = unknown ? 'it takes' : `there is no completion for ${printed(word)}: it takes`;
    err(`${what} one of ${SHELLS.join(', ')}; see trousseau completion --help\n`);
    return EXIT.usage;
  },
};

function script(shell: Shell, commands: readonly Command[]): string {
  switch (shell) {
    case 'bash':
      return bashCompletion(commands);
    case 'zsh':
      return zshCompletion(commands);
    case 'fish':
      return fishCompletion(commands);
  }
}
