/**
 * What 'Deno-compatible' means here: the sources type-check under Deno as they are, and the tests
 * of what decides, parses and encrypts pass under it, and so does the demo, daemon and all.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';

const DENO = 'node_modules/.bin/deno';

/**
 * The HTTP/2 server of Deno differs in these: it sends an answer for which there is no window, does not end
 * a stream that is answered with headers alone, and takes no socket that was read in pieces.
 */
const NODE_ONLY: readonly string[] = [
  'test/unit/authority/piecewise.test.ts',
  'test/unit/kms/accept.test.ts',
  'test/unit/kms/content-type.test.ts',
  'test/unit/kms/late.test.ts',
  'test/unit/kms/refused-in-words.test.ts',
  'test/unit/kms/unread.test.ts',
];
/** For all of them together; a test that hangs under Deno alone would have no end. */
const MOST_MS = 15 * 60_000;

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
    timeout: MOST_MS,
    env: { ...process.env, DENO_NO_UPDATE_CHECK: '1' },
  });
  // No status where the time was over.
  if (status !== 0) process.exit(status ?? 1);
}
