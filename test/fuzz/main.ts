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

const { values } = parseArgs({
  options: { minutes: { type: 'string' }, seed: { type: 'string' } },
});
const minutes = Number(values.minutes ?? 10);
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
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
