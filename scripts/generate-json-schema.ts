/**
 * Writes docs/schema/trousseau.io_v1.json from the configuration's schema, for editors and for
 * checks elsewhere. `--check` writes nothing and fails where the file differs.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import { configSchema } from '../src/config/schema.ts';

const FILE = 'docs/schema/trousseau.io_v1.json';

const schema = toJsonSchema(configSchema, {
  typeMode: 'input',
  // What only code can check (durations, URLs, modes turned into numbers) is left to `config check`.
  ignoreActions: ['check', 'transform'],
});
const text = `${JSON.stringify({ ...schema, title: 'KMSPluginConfiguration' }, undefined, 2)}\n`;

if (process.argv.includes('--check')) {
  if (readFileSync(FILE, 'utf8') !== text) {
    process.stderr.write(`${FILE} is not as src/config/schema.ts says; run make generate\n`);
    process.exitCode = 1;
  }
} else {
  mkdirSync(dirname(FILE), { recursive: true });
  writeFileSync(FILE, text);
}
