/**
 * Builds the real servers and clients that the tests start, each once for all it is made of:
 * `build-test-servers.ts [--list] [NAME...]`, without a name all that `make test` starts. The first time takes about twenty minutes on two cores;
 * later only what has changed is built.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { binary, testServers } from './test-servers/binaries.ts';
import { buildTarget } from './test-servers/build.ts';
import { FIELD_ONLY, TARGET_NAMES, type TargetName, target } from './test-servers/targets.ts';

export { testServers };

if (import.meta.main) await main();

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { list: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const ofMakeTest = TARGET_NAMES.filter((name) => !FIELD_ONLY.includes(name));
  try {
    if (values.list) console.log(JSON.stringify(testServers(), null, 2));
    else await build(positionals.length === 0 ? ofMakeTest : positionals.map(known));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

/** One after the other: the compiler uses all cores by itself. */
async function build(names: readonly TargetName[]): Promise<void> {
  const missing = names.filter((name) => !existsSync(binary(name)));
  for (const name of missing) {
    const started = Date.now();
    const say = (line: string): void => {
      const seconds = Math.round((Date.now() - started) / 1000);
      console.log(`${name} ${target(name).version}: ${line} (${seconds} s)`);
    };
    await buildTarget(name, say);
    say('done');
  }
}

function known(name: string): TargetName {
  const found = TARGET_NAMES.find((candidate) => candidate === name);
  if (found === undefined) throw new Error(`no ${name}; there are ${TARGET_NAMES.join(', ')}`);
  return found;
}
