/** `trousseau config`: checks a configuration, shows what would run, and brings it to today's form. */
import { actionCall } from './actions.ts';
import { type Command, EXIT, type ExitCode, OUTPUT_OPTION } from './command.ts';
import { checkConfig } from './config/check.ts';
import { migrateFile } from './config/migrate.ts';

const ACTIONS = ['check', 'migrate'] as const;

export const configCommand: Command = {
  name: 'config',
  summary: 'check or migrate a configuration',
  usage: [
    'trousseau config check FILE [--text-only] [--user NAME] [--output FORMAT]',
    'trousseau config migrate FILE [--write]',
  ],
  actions: ACTIONS,
  description:
    'check reads a configuration as serve would, prints what would run with every default filled in,\n' +
    'and names everything that is wrong with file, line and field. It looks whether the files that\n' +
    'it names are there; it opens no connection and reads no secret. As root it names each file that\n' +
    'the user of the service may not read, by its mode. FILE may be - for standard input.\n' +
    'migrate prints a configuration in the form of the current apiVersion, comments kept. It also reads\n' +
    'the files of Trousseau 1.x and kleidi, and a Pod, unit or environment file of vault-kubernetes-kms.\n' +
    'Both end with 2 where something is wrong.',
  examples: [
    { command: 'trousseau config check /etc/trousseau/config.yaml', what: 'before a restart' },
    {
      command: 'trousseau config check --text-only -o json - < config.yaml',
      what: 'in a pipeline, where the files that it names are not',
    },
    {
      command: 'trousseau config migrate /etc/trousseau/config.yaml --write',
      what: 'after an upgrade',
    },
    {
      command: 'trousseau config migrate /opt/old/config.yaml > /etc/trousseau/config.yaml',
      what: 'from an earlier plugin; what is to be done by hand is said beside it',
    },
  ],
  options: {
    output: OUTPUT_OPTION,
    'text-only': {
      type: 'boolean',
      what: 'check: leave out the files and the group that it names',
    },
    user: {
      type: 'string',
      value: 'NAME',
      what: 'check: the user of the service; trousseau without it, where root checks',
    },
    write: { type: 'boolean', what: 'migrate: replace the file, its owner and mode kept' },
  },
  async run(invocation): Promise<ExitCode> {
    const { positionals, options, err } = invocation;
    const call = actionCall(configCommand, ACTIONS, positionals);
    if ('problem' in call) {
      err(call.problem);
      return EXIT.usage;
    }
    const { action, file } = call;
    const foreign = FOREIGN[action].find((option) => options[option] !== undefined);
    if (foreign !== undefined) {
      err(`${action} takes no --${foreign}; see trousseau config --help\n`);
      return EXIT.usage;
    }
    return await (action === 'check' ? checkConfig : migrateFile)(file, invocation);
  },
};

/** The options of the other action. */
const FOREIGN = { check: ['write'], migrate: ['output', 'text-only', 'user'] } as const;
