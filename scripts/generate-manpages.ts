/** Writes the man pages and the completions into a folder: `generate-manpages.ts [FOLDER]`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bashCompletion, fishCompletion, zshCompletion } from '../src/cli/completions.ts';
import { allCommands } from './packages/commands.ts';
import { editionOf } from './packages/edition.ts';
import { manPages } from './packages/manpages.ts';

const folder = process.argv[2] ?? 'dist/man';

mkdirSync(folder, { recursive: true });
const commands = await allCommands();
const files = [
  ...(await manPages(editionOf(process.env))),
  { file: 'trousseau.bash', text: bashCompletion(commands) },
  { file: '_trousseau', text: zshCompletion(commands) },
  { file: 'trousseau.fish', text: fishCompletion(commands) },
];
for (const { file, text } of files) writeFileSync(join(folder, file), text);
process.stdout.write(`${files.length} files in ${folder}\n`);
