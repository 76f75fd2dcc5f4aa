/** Machines start with a clock that is years off and is set later, and others are suspended for hours. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openHandover } from '../../../src/cli/handover.ts';
import { statusSentence } from '../../../src/cli/service-manager.ts';
import type { ResolvedConfig } from '../../../src/config/environment.ts';
import { announce, type KeyringState } from '../../../src/keyring/state.ts';
import { createStateLog } from '../../../src/keyring/state-log.ts';
import { createLog, silentLog } from '../../../src/observe/log.ts';
import { fail } from '../../../src/providers/errors.ts';
import { createRefusals } from '../../../src/providers/vault/auth/refusals.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { createDrivenClock, type DrivenClock } from '../driven-clock.ts';

const START = Date.UTC(2016, 10, 29, 8);
const TEN_YEARS_MS = Date.UTC(2026, 10, 27, 20) - START;

const key = announce({
  path: ['vault', 'transit', 'k'],
  versions: [{ version: 1, createdAt: 1_000 }],
  current: { version: 1, createdAt: 1_000 },
  minDecryptionVersion: 1,
  facts: { type: 'aes256-gcm96', deletable: false, exportable: false },
});
const why = fail('unavailable', 'away').error;
const outageSince = (since: number): KeyringState => ({ kind: 'outage', key, since, why });

/** What a person, or the next process, is told of a moment that was at the start of the clock. */
const TOLD: Readonly<Record<string, (clock: DrivenClock) => Promise<string>>> = {
  async 'the log of trouble that lasts'(clock) {
    const lines: string[] = [];
    const write = (line: string): void => void lines.push(line);
    const log = createStateLog(createLog({ level: 'info', format: 'json', write }), clock);
    const state = outageSince(clock.now());
    await clock.advance(600_000);
    log.scheduled(state, 9, 1_000);
    return lines.join('');
  },
  'the status of an outage': async (clock) => statusSentence(outageSince(clock.now()), clock),
  'the status of a refusal': async (clock) => {
    const since = clock.now();
    return statusSentence({ kind: 'refused', key, wasReady: true, since, why }, clock);
  },
  async 'the next try of a refused login'(clock) {
    const refusals = createRefusals(clock);
    const attempt = { identity: 'role', credentials: 'wrong' };
    refusals.refused({ ...attempt, message: 'refused', counts: false, place: '/id' });
    return refusals.holds(attempt, false)?.error.message ?? '';
  },
  async 'the time of an outage that is handed over'(clock) {
    const dir = mkdtempSync(join(tmpdir(), 'trousseau-time-'));
    const files = [join(dir, 'announced-key.json')];
    const config = { providers: [], write: ['none'] } as unknown as ResolvedConfig;
    const none = { sample: () => undefined, sources: () => [], ciphertexts: () => [] };
    try {
      const handover = await openHandover({
        files,
        socket: '/run/kms.sock',
        clock,
        log: silentLog,
      });
      handover.follow({ state: () => outageSince(clock.now()), ...none }, () => config);
      await handover.stop();
      const left = (
        await openHandover({ files, socket: '/run/kms.sock', clock, log: silentLog })
      ).leftFor(config);
      return new Date(left?.awaySince ?? 0).toISOString();
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
};

describe('a moment is told by the clock as it is set now', () => {
  for (const [what, tell] of Object.entries(TOLD)) {
    it(what, async () => {
      const clock = createDrivenClock(START);
      assert.match(await tell(clock), /2016-11-29T08:00:0\d/);
      const set = createDrivenClock(START);
      set.aheadMs = TEN_YEARS_MS;
      assert.match(await tell(set), /2026-11-27T20:00:0\d/);
    });
  }

  it('and alike each time, while the clock is not set', () => {
    const { now } = Date;
    const at = systemClock.now();
    const told = systemClock.timeOfDay(at);
    try {
      for (const aheadMs of [-900, 0, 900]) {
        Date.now = () => now() + aheadMs;
        assert.equal(systemClock.timeOfDay(at), told);
      }
      for (const aheadMs of [-TEN_YEARS_MS, TEN_YEARS_MS, 0]) {
        Date.now = () => now() + aheadMs;
        assert.ok(Math.abs(systemClock.timeOfDay(at) - told - aheadMs) < 1_000);
      }
    } finally {
      Date.now = now;
    }
  });
});
