/** `trousseau config`: checks a configuration, shows what would run, and brings it to today's form. */
import { type Command, EXIT, type ExitCode, OUTPUT_OPTION } from './command.ts';
import { checkConfig } from './config/check.ts';
import { migrateFile } from './config/migrate.ts';

export const configCommand: Command = {
  name: 'config',
  summary: 'check or migrate a configuration',
  usage: [
    'trousseau config check FILE [--output FORMAT]',
    'trousseau config migrate FILE [--write]',
  ],
  description:
    'check reads a configuration as serve would, prints what would run with every default filled in, and\n' +
    'names everything that is wrong with file, line and field. It opens no connection and reads no secret.\n' +
    'migrate prints a configuration in the form of the current apiVersion, comments kept. Both end with 2\n' +
    'where something is wrong.',
  examples: [
    { command: 'trousseau config check /etc/trousseau/config.yaml', what: 'before a restart' },
    { command: 'trousseau config check config.yaml -o json', what: 'in a pipeline' },
    {
      command: 'trousseau config migrate /etc/trousseau/config.yaml --write',
      what: 'after an upgrade',
    },
  ],
  options: {
    output: OUTPUT_OPTION,
    write: { type: 'boolean', what: 'migrate: replace the file, its owner and mode kept' },
  },
  async run(invocation): Promise<ExitCode> {
    const { positionals, options, err } = invocation;
    const [action, file, ...tooMany] = positionals;
    const known = action === 'check' || action === 'migrate';
    if (!known || file === undefined || tooMany.length > 0) {
      err('it takes check or migrate, and one FILE; see trousseau config --help\n');
      return EXIT.usage;
    }
    const foreign = action === 'check' ? 'write' : 'output';
    if (options[foreign] !== undefined) {
      err(`${action} takes no --${foreign}; see trousseau config --help\n`);
      return EXIT.usage;
    }
    return await (action === 'check' ? checkConfig : migrateFile)(file, invocation);
  },
};
