import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { PROGRAM } from '../servers/plugin.ts';
import { checkHistory } from './checker.ts';
import { linesOf } from './report.ts';
import { run } from './run.ts';

/** All kinds of faults are in it. */
const SEED = 11;
const MINUTES = 3;

describe('three plugins on a Vault of three servers', { timeout: 600_000 }, () => {
  it(`keep every promise to Kubernetes' own clients under ${MINUTES} minutes of faults`, async (t) => {
    const file = join(import.meta.dirname, `../../build/robustness/${SEED}.jsonl`);
    const say = (line: string): void => t.diagnostic(line);
    const { events } = await run({ seed: SEED, minutes: MINUTES, program: PROGRAM, file, say });
    const report = checkHistory(events);
    for (const line of linesOf(report)) t.diagnostic(line);
    assert.deepEqual(
      report.violations.map(({ t: at, sentence }) => `${at} ms: ${sentence}`),
      [],
      `make robustness MINUTES=${MINUTES} SEED=${SEED}; the history is in ${file}`,
    );
  });
});
