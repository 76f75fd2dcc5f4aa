/** Writes docs/limits.md from the limits table. `--check` writes nothing and fails where it differs. */
import { readFileSync, writeFileSync } from 'node:fs';
import { limitsDocument } from './limits-table.ts';

const FILE = 'docs/limits.md';

if (!process.argv.includes('--check')) {
  writeFileSync(FILE, limitsDocument());
} else if (readFileSync(FILE, 'utf8') !== limitsDocument()) {
  process.stderr.write(`${FILE} is not as scripts/limits-table.ts says; run make generate\n`);
  process.exitCode = 1;
}
