/**
 * Drives the shipped program with random HTTP/2 from a printed seed: `main.ts --minutes 10 --seed 1`.
 * It fails where the process ends, where the next good call is not answered in time, or where memory,
 * descriptors or sessions do not return to where they were.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { localProviders } from '../daemon/program.ts';
import { startPlugin } from '../servers/plugin.ts';
import { createGrammar } from './grammar.ts';
import { fuzz } from './run.ts';

const USAGE = `usage: main.ts [--minutes N] [--seed N]

Sends random HTTP/2 for so many minutes (10), chosen by a seed (a random one, which is printed).
`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
if (values.help || !(minutes > 0) || !Number.isSafeInteger(seed)) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}
const dir = mkdtempSync(join(tmpdir(), 'trousseau-fuzz-'));
const providers = await localProviders(dir);
const log = { level: 'info', format: 'json' };
const plugin = await startPlugin({ dir, config: { providers, log } });
await plugin.ready();
process.stdout.write(`seed ${seed}, ${minutes} minutes\n`);
const { counts, find } = await fuzz(plugin, createGrammar(seed), minutes * 60_000, (line) =>
  process.stdout.write(`${line}\n`),
);
process.stdout.write(`${JSON.stringify(counts)}\n`);
if (find !== undefined) {
  process.stdout.write(`FOUND: ${find}\nmake fuzz MINUTES=${minutes} SEED=${seed}\n`);
  process.exitCode = 1;
}
await plugin.stop();
if (find === undefined) rmSync(dir, { recursive: true });
