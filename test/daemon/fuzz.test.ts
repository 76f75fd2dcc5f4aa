import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createGrammar } from '../fuzz/grammar.ts';
import { fuzz } from '../fuzz/run.ts';
import { startPlugin } from '../servers/plugin.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { localProviders } from './program.ts';

const SEED = 20_261_127;
const MINUTE_MS = 60_000;

it('a minute of random HTTP/2 leaves the plugin as it was', { timeout: 300_000 }, async (t) => {
  const dir = temporaryFolder(t);
  const log = { level: 'info', format: 'json' };
  const providers = await localProviders(dir);
  await using plugin = await startPlugin({ dir, config: { providers, log } });
  await plugin.ready();
  const { counts, find } = await fuzz(plugin, createGrammar(SEED), MINUTE_MS, (line) =>
    t.diagnostic(line),
  );
  t.diagnostic(JSON.stringify(counts));
  assert.equal(find, undefined, `make fuzz MINUTES=1 SEED=${SEED}: ${find}`);
});
