/**
 * What 'Deno-compatible' means here: the sources type-check under Deno as they are, and the tests
 * of what decides, parses and encrypts pass under it, and so does the demo, daemon and all.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';

const DENO = 'node_modules/.bin/deno';

/** Under Deno these read and bind files and sockets in ways that its node:fs and node:net differ in. */
const NODE_ONLY: readonly string[] = [];

const tests = globSync('test/unit/**/*.test.ts').filter((file) => !NODE_ONLY.includes(file));
const steps: readonly (readonly string[])[] = [
  ['check', '--no-lock', '--node-modules-dir=manual', 'src/main.ts'],
  [
    'test',
    '--no-lock',
    '--node-modules-dir=manual',
    '--no-check',
    '--quiet',
    '--allow-all',
    ...tests,
  ],
  [
    'run',
    '--no-lock',
    '--node-modules-dir=manual',
    '--no-check',
    '--quiet',
    '--allow-all',
    'scripts/demo.ts',
  ],
];
for (const step of steps) {
  const { status } = spawnSync(DENO, step, {
    stdio: 'inherit',
    env: { ...process.env, DENO_NO_UPDATE_CHECK: '1' },
  });
  if (status !== 0) process.exit(status ?? 1);
}
