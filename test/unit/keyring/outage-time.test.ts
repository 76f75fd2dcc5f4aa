/** For how long a keyring can do without its provider, and what keeps that so. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createOutageMemory } from '../../../src/keyring/outage-memory.ts';
import { fail } from '../../../src/providers/errors.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { createDrivenClock } from '../driven-clock.ts';
import type { FakeProvider } from '../fake-provider.ts';
import {
  ALL,
  goAway,
  HOUR,
  keyringUnderTest,
  leftInAnOutage,
  MINUTE,
  NEXT,
  NOTHING,
  patience,
  reading,
  refuse,
  SEED,
  type Setup,
  sealed,
  withTwoProviders,
} from './outage-under-test.ts';

describe('what a keyring remembers, as time passes,', () => {
  it('stays at hand for days, as long as the provider still decrypts it', async () => {
    const setup = await keyringUnderTest();
    await setup.clock.advance(48 * HOUR);
    assert.deepEqual(await leftInAnOutage(setup), ALL);
  });

  it('lasts for two thirds of its maximum age in an outage, whenever that begins', async () => {
    for (let begins = 0; begins < 40; begins += 1) {
      const setup = await keyringUnderTest();
      await setup.clock.advance(HOUR + begins * MINUTE);
      await goAway(setup);
      await setup.clock.advance(39 * MINUTE);
      assert.equal(await reading(setup), 'ok', `in an outage that begins after ${begins} min`);
    }
  });

  it('lasts for half of it with a thousand entries', async () => {
    for (const begins of [0, 9, 17]) {
      const setup = await keyringUnderTest(1_000);
      const ciphertexts: Uint8Array[] = [];
      for (let i = 0; i < 999; i += 1) {
        const written = await setup.keyring.encrypt(SEED, 'dek', patience());
        assert.ok(written.ok);
        ciphertexts.push(written.value.ciphertext);
      }
      await setup.clock.advance(2 * HOUR + begins * MINUTE);
      await goAway(setup);
      await setup.clock.advance(29 * MINUTE);
      for (const ciphertext of ciphertexts)
        assert.equal(
          (await setup.keyring.decrypt({ ciphertext, purpose: 'seed' }, patience())).ok,
          true,
        );
    }
  });

  it('ages out once the provider cannot decrypt it any more', async () => {
    const setup = await keyringUnderTest();
    const { decrypt } = setup.provider;
    refuse(setup.provider, setup.ciphertext, 'invalid');
    await setup.clock.advance(HOUR);
    Object.assign(setup.provider, { decrypt });
    assert.deepEqual(await leftInAnOutage(setup), NOTHING);
  });

  it('survives one wrong answer, as of a standby that is behind', async () => {
    const setup = await keyringUnderTest();
    await setup.clock.advance(14 * MINUTE);
    const { decrypt } = setup.provider;
    refuse(setup.provider, setup.ciphertext, 'invalid');
    await setup.clock.advance(4 * MINUTE);
    Object.assign(setup.provider, { decrypt });
    assert.deepEqual(await leftInAnOutage(setup), ALL);
  });

  it('is confirmed also where there is much that nobody can confirm', async () => {
    const { writer, other: dead, clock, keyring } = await withTwoProviders(1_000);
    const ask = async (of: FakeProvider): Promise<void> =>
      assert.ok(
        (await keyring.decrypt({ ciphertext: await sealed(of), purpose: 'dek' }, patience())).ok,
      );
    for (let i = 0; i < 300; i += 1) await ask(dead);
    for (let i = 0; i < 5; i += 1) await ask(writer);
    Object.assign(dead, { versionOf: writer.versionOf });
    dead.failing.all = 'unavailable';
    await clock.advance(2 * HOUR);
    assert.deepEqual(keyring.remembered(), { entries: 5, seeds: false });
  });

  /** Has the provider leave a caller who asks for what is remembered without an answer. */
  async function untilConfirmingHangs({ provider, clock, ciphertext }: Setup) {
    const { decrypt } = provider;
    const hanging = { asked: 0, ended: 0 };
    const hangs: Provider['decrypt'] = (items, signal) => {
      if (!items.some((item) => Buffer.from(item).equals(ciphertext)))
        return decrypt(items, signal);
      hanging.asked += 1;
      return new Promise((resolve) => {
        const end = (): void => {
          hanging.ended += 1;
          resolve(items.map(() => fail('unavailable', 'was given up')));
        };
        signal.addEventListener('abort', end, { once: true });
      });
    };
    Object.assign(provider, { decrypt: hangs });
    for (let seconds = 0; hanging.asked === 0; seconds += 1) {
      assert.ok(seconds < 1_800, 'it is confirmed');
      await clock.advance(1_000);
    }
    assert.equal(hanging.ended, 0);
    return hanging;
  }

  it('is confirmed within 5 s or not at all', async () => {
    const setup = await keyringUnderTest();
    const hanging = await untilConfirmingHangs(setup);
    await setup.clock.advance(5_000);
    assert.equal(hanging.ended, 1);
    assert.deepEqual(setup.keyring.remembered(), { entries: 1, seeds: true });
  });

  it('keeps no keyring from stopping while it is confirmed, and leaves no timer behind', async () => {
    const setup = await keyringUnderTest();
    const hanging = await untilConfirmingHangs(setup);
    await setup.keyring.stop();
    assert.deepEqual(hanging, { asked: 1, ended: 1 });
    assert.equal(setup.clock.pending, 0);
  });

  it('is not asked for again while it is being confirmed', async () => {
    const clock = createDrivenClock();
    let asked = 0;
    const memory = createOutageMemory({
      limits: { maxEntries: 10, maxAgeMs: HOUR },
      clock,
      versionOf: () => 1,
      decrypt: () => {
        asked += 1;
        return new Promise(() => undefined);
      },
    });
    memory.remembering()(SEED, NEXT, false);
    await clock.advance(HOUR / 2);
    memory.confirm();
    memory.confirm();
    assert.equal(asked, 1);
  });
});
