import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';

/** Longer than any of them takes to say that a number is none. */
const LIMIT_MS = 30_000;

/** A run that tried nothing would look like a good one. */
describe('a run of an instrument that is told no number', () => {
  for (const [main, option] of [
    ['fuzz', '--minutes'],
    ['fuzz', '--seed'],
    ['races', '--rounds'],
    ['races', '--round'],
    ['races', '--seed'],
    ['bounds', '--seconds'],
    ['robustness', '--minutes'],
    ['robustness', '--seed'],
    ['soak', '--minutes'],
  ] as const) {
    it(`ends with 2 and says how it is used: ${main} ${option}=half`, () => {
      const file = join(import.meta.dirname, '..', main, 'main.ts');
      const ran = spawnSync(process.execPath, [file, `${option}=half`], {
        encoding: 'utf8',
        timeout: LIMIT_MS,
      });
      assert.equal(ran.status, 2, ran.stdout + ran.stderr);
      assert.match(ran.stdout, /^usage: main\.ts /);
    });
  }
});
