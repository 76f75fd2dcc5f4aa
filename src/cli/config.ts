/** `trousseau config`: checks a configuration and shows what would run. */
import { readConfigFile } from '../config/load.ts';
import { printable, printConfig } from '../config/print.ts';
import { formatProblems } from '../config/problem.ts';
import { type Command, EXIT, type ExitCode, OUTPUT_OPTION } from './command.ts';

export const configCommand: Command = {
  name: 'config',
  summary: 'check a configuration',
  usage: ['trousseau config check FILE [--output FORMAT]'],
  description:
    'Reads a configuration as serve would, prints what would run with every default filled in, and names\n' +
    'everything that is wrong with file, line and field. Ends with 2 where something is wrong. It opens no\n' +
    'connection and reads no secret.',
  examples: [
    { command: 'trousseau config check /etc/trousseau/config.yaml', what: 'before a restart' },
    { command: 'trousseau config check config.yaml -o json', what: 'in a pipeline' },
  ],
  options: { output: OUTPUT_OPTION },
  async run({ positionals, options, out, err, env }): Promise<ExitCode> {
    const [action, file, ...tooMany] = positionals;
    if (action !== 'check' || file === undefined || tooMany.length > 0) {
      err('it takes check and one FILE; see trousseau config --help\n');
      return EXIT.usage;
    }
    const result = await readConfigFile(file, env);
    const problems = result.ok ? result.warnings : result.problems;
    if (options['output'] === 'json') {
      const config = result.ok ? { config: printable(result.config) } : {};
      out(`${JSON.stringify({ ok: result.ok, problems, ...config })}\n`);
    } else {
      err(formatProblems(problems));
      if (result.ok) out(printConfig(result.config));
    }
    return result.ok ? EXIT.ok : EXIT.usage;
  },
};
