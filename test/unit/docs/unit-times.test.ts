import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { RELOAD_LIMIT_MS } from '../../../src/cli/reload-command.ts';
import { TRIAL_LIMIT_MS } from '../../../src/cli/trial.ts';

/** In milliseconds, of the first `TimeoutStartSec=` in this file. */
function timeoutStartMs(file: string): number {
  const seconds = /^TimeoutStartSec=(\d+)s$/m.exec(readFileSync(file, 'utf8'))?.[1];
  assert.ok(seconds !== undefined, file);
  return Number(seconds) * 1_000;
}

describe("systemd's time for a reload", () => {
  it('is longer than trousseau reload waits for a result', () => {
    assert.ok(timeoutStartMs('systemd/trousseau.service') > RELOAD_LIMIT_MS);
  });

  it('lets a trial that is under way end, and then the one that was asked for', () => {
    assert.ok(RELOAD_LIMIT_MS > 2 * TRIAL_LIMIT_MS);
  });
});

describe("systemd's time for the proof before a restart", () => {
  it('is longer than the trial', () => {
    assert.ok(timeoutStartMs('systemd/restart') > TRIAL_LIMIT_MS);
  });
});
