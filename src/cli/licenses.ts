/** `trousseau licenses`: under which terms all that is inside may be used. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Command, EXIT, OUTPUT_OPTION } from './command.ts';

/** One piece of software inside, with the whole text of its license. */
export type License = {
  readonly name: string;
  readonly version: string;
  /** SPDX. */
  readonly license: string;
  readonly text: string;
};

/** The executable holds it as an asset; the bundle has it as a file beside its script. */
const FILE = 'licenses.json';

export const licensesCommand: Command = {
  name: 'licenses',
  summary: 'print the licenses of all that is inside',
  usage: ['trousseau licenses [--output text|json]'],
  description:
    'Prints the license texts of Trousseau, of the Node.js runtime and of every package that was\n' +
    'built in.',
  examples: [
    { command: 'trousseau licenses | less', what: 'read them' },
    { command: 'trousseau licenses --output json', what: 'for scripts and inventories' },
  ],
  options: {
    output: OUTPUT_OPTION,
  },
  async run({ options, positionals, out, err }) {
    if (positionals.length > 0) {
      err('it takes no arguments; see trousseau licenses --help\n');
      return EXIT.usage;
    }
    const found = shippedLicenses();
    if (found === undefined) {
      err('this was not built: the licenses are in LICENSE and in the packages of node_modules/\n');
      return EXIT.failure;
    }
    const licenses = JSON.parse(found) as readonly License[];
    if (options['output'] === 'json') out(`${JSON.stringify(licenses)}\n`);
    else out(licenses.map(page).join('\n'));
    await flushed();
    return EXIT.ok;
  },
};

function page({ name, version, license, text }: License): string {
  const title = `${name} ${version} (${license})`;
  return `${title}\n${'='.repeat(title.length)}\n\n${text}\n`;
}

/** A pipe takes 64 KiB at once, and the program ends when the command does; a pager may end before. */
function flushed(): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.once('error', () => resolve());
    process.stdout.write('', () => resolve());
  });
}

function shippedLicenses(): string | undefined {
  const sea = process.getBuiltinModule('node:sea'); // an import of it would stop Deno
  if (sea?.isSea()) return sea.getAsset(FILE, 'utf8');
  try {
    return readFileSync(join(dirname(process.argv[1] ?? ''), FILE), 'utf8');
  } catch {
    return undefined;
  }
}
