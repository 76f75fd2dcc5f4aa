/** A provider that takes its time for each answer is slow, and not away. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { fail } from '../../../src/providers/errors.ts';
import { createDrivenClock, type DrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

const MINUTE = 60_000;
const STEPS = ['describe', 'encrypt', 'decrypt'] as const;
type Step = (typeof STEPS)[number];

/** Each answer comes after so many milliseconds, or never where the caller leaves before. */
function slowDown(
  provider: FakeProvider,
  clock: DrivenClock,
  takes: Partial<Record<Step, number>>,
): void {
  const { describe, encrypt, decrypt } = provider;
  const away = fail('unavailable', 'was given up');
  const late = (step: Step, signal: AbortSignal): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = clock.setTimer(takes[step] ?? 0, () => resolve(false));
      signal.addEventListener('abort', () => {
        timer.cancel();
        resolve(true);
      });
    });
  provider.describe = async (signal) =>
    (await late('describe', signal)) ? away : describe(signal);
  provider.encrypt = async (items, version, signal) =>
    (await late('encrypt', signal)) ? items.map(() => away) : encrypt(items, version, signal);
  provider.decrypt = async (items, signal) =>
    (await late('decrypt', signal)) ? items.map(() => away) : decrypt(items, signal);
}

function start(takes: Partial<Record<Step, number>>) {
  const provider = createFakeProvider();
  const clock = createDrivenClock(1_000_000);
  slowDown(provider, clock, takes);
  const keyring = createKeyring({
    ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, clock, log: silentLog },
  });
  keyring.start();
  return { provider, clock, keyring };
}

describe('a provider each answer of which', () => {
  for (const ms of [1_000, 1_700, 2_500, 4_900]) {
    it(`takes ${ms} ms is ready, stays so, and is again after an outage`, async () => {
      const takes = { describe: ms, encrypt: ms, decrypt: ms };
      const { provider, clock, keyring } = start(takes);
      await clock.advance(3 * ms);
      assert.equal(keyring.state().kind, 'ready');
      for (let seconds = 0; seconds < 600; seconds += 1) {
        await clock.advance(1_000);
        assert.equal(keyring.state().kind, 'ready');
      }
      provider.failing.all = 'unavailable';
      await clock.advance(MINUTE);
      assert.equal(keyring.state().kind, 'outage');
      delete provider.failing.all;
      await clock.advance(MINUTE);
      assert.equal(keyring.state().kind, 'ready');
      const stopped = keyring.stop();
      await clock.advance(0);
      await stopped;
      assert.equal(clock.pending, 0);
    });
  }

  for (const step of STEPS) {
    it(`comes at once, but for ${step}, which hangs, counts as away 5 s after it was asked`, async () => {
      const { clock, keyring } = start({ [step]: 10 * MINUTE });
      await clock.advance(4_900);
      assert.deepEqual([keyring.state().kind, whyOf(keyring)], ['starting', undefined]);
      await clock.advance(200);
      assert.match(whyOf(keyring) ?? '', /was given up|no answer in time/);
      const stopped = keyring.stop();
      await clock.advance(0);
      await stopped;
      await settle();
      assert.equal(clock.pending, 0);
    });
  }
});

function whyOf(keyring: ReturnType<typeof createKeyring>): string | undefined {
  const state = keyring.state();
  return state.kind === 'ready' ? undefined : state.why?.message;
}
