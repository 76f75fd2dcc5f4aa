/** An announced version that the provider does not have any more, and then is away before that is certain. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createDrivenClock } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';
import {
  MINUTE,
  patience,
  SEED,
  type Setup,
  sealed,
  seeding,
  startNode,
} from './outage-under-test.ts';

const STATES = ['the next look', 'an Encrypt', 'a Decrypt'] as const;

async function rotated(): Promise<Setup> {
  const provider = createFakeProvider();
  provider.rotate(2_000);
  const clock = createDrivenClock(1_000_000);
  const node = await startNode(provider, clock);
  const made = await node.keyring.encrypt(SEED, 'seed', patience());
  assert.ok(made.ok);
  return { ...node, provider, clock, ...made.value };
}

describe('a seed of KMS v2', () => {
  it('is encrypted under a local KEK in an outage', async () => {
    const setup = await rotated();
    setup.provider.failing.all = 'unavailable';
    await setup.clock.advance(MINUTE);
    assert.equal(await seeding(setup), 'ok');
  });

  for (const what of STATES) {
    it(`is not where ${what} had shown before it that the announced version is missing`, async () => {
      const setup = await rotated();
      const { provider, clock, keyring } = setup;
      const another = await sealed(provider, 2);
      const bringBack = provider.backup();
      provider.restore(1);
      if (what === 'the next look') {
        for (let waited = 0; keyring.state().kind === 'ready'; waited += 1_000) {
          assert.ok(waited < MINUTE);
          await clock.advance(1_000);
        }
        provider.failing.all = 'unavailable';
      } else {
        // Away for the watcher before it can look.
        provider.failing.describe = 'unavailable';
        const caller = new AbortController();
        const asked =
          what === 'an Encrypt'
            ? keyring.encrypt(SEED, 'dek', caller.signal)
            : keyring.decrypt({ ciphertext: another, purpose: 'dek' }, caller.signal);
        await clock.advance(1_000);
        caller.abort();
        await asked;
        provider.failing.all = 'unavailable';
      }
      await clock.advance(20_000);
      assert.equal(keyring.state().kind, 'outage');
      assert.notEqual(await seeding(setup), 'ok');
      bringBack();
      delete provider.failing.all;
      delete provider.failing.describe;
      await clock.advance(6 * MINUTE);
      provider.failing.all = 'unavailable';
      await clock.advance(2 * MINUTE);
      assert.equal(await seeding(setup), 'ok', 'the next outage is one again');
      await keyring.stop();
    });
  }
});
