/** `trousseau version`: what exactly is running. */
import { COMMIT, VERSION } from '../version.ts';
import { type Command, EXIT, OUTPUT_OPTION } from './command.ts';

export const versionCommand: Command = {
  name: 'version',
  summary: 'print the version',
  usage: ['trousseau version [--output text|json]'],
  description: 'Prints the version, the commit that it was built from and the runtime inside.',
  examples: [{ command: 'trousseau version --output json', what: 'for scripts and inventories' }],
  options: {
    output: OUTPUT_OPTION,
  },
  async run({ options, positionals, out, err }) {
    if (positionals.length > 0) {
      err('it takes no arguments; see trousseau version --help\n');
      return EXIT.usage;
    }
    const facts = {
      version: VERSION,
      commit: COMMIT,
      node: process.versions.node,
      openssl: process.versions.openssl,
    };
    out(
      options['output'] === 'json'
        ? `${JSON.stringify(facts)}\n`
        : `trousseau ${facts.version} (commit ${facts.commit}, Node ${facts.node}, OpenSSL ${facts.openssl})\n`,
    );
    return EXIT.ok;
  },
};
