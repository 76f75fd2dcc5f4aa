/** What a keyring that takes the place of another one can do in the next outage. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeyringSwap } from '../../../src/keyring/swap.ts';
import { settle } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';
import {
  ALL,
  keyringUnderTest,
  leftInAnOutage,
  MINUTE,
  NOTHING,
  patience,
  reading,
  type Setup,
  seeding,
  startNode,
} from './outage-under-test.ts';

type Change = (setup: Setup) => Promise<unknown>;

/** A keyring that has read and encrypted a seed, replaced by another one on the same provider. */
async function replaced(sameProviders: boolean, before: Change, during: Change) {
  const setup = await keyringUnderTest();
  const { keyring, replace } = createKeyringSwap(setup.keyring);
  await before(setup);
  const next = await startNode(setup.provider, setup.clock);
  await during({ ...setup, keyring: next.keyring });
  await settle();
  await replace(next.keyring, sameProviders);
  await settle();
  return { ...setup, keyring };
}

const nothing: Change = async () => undefined;
const minute: Change = ({ clock }) => clock.advance(MINUTE);

describe('a keyring that takes the place of another', () => {
  type Row = readonly [string, boolean, Change, Change, { read: string; seed: string }];
  const ofEither = [true, false].flatMap((sameProviders): readonly Row[] => {
    const providers = sameProviders ? 'the same providers' : 'other providers';
    return [
      [
        `has no source of another key than the one that it announces, of ${providers}`,
        sameProviders,
        async ({ provider }) => provider.rotate(2_000),
        nothing,
        { read: 'ok', seed: 'unavailable' },
      ],
      [
        `has nothing that policy rules out meanwhile, of ${providers}`,
        sameProviders,
        async ({ provider }) => {
          provider.rotate(2_000);
          provider.minDecryptionVersion = 2;
        },
        nothing,
        NOTHING,
      ],
      [
        `has nothing where the one before was refused, of ${providers}`,
        sameProviders,
        async (setup) => {
          setup.provider.failing.all = 'denied';
          await minute(setup);
          delete setup.provider.failing.all;
        },
        nothing,
        NOTHING,
      ],
    ];
  });
  const rows: readonly Row[] = [
    ...ofEither,
    ['has all of it where its providers are the same', true, nothing, nothing, ALL],
    ['has its own providers decrypt it where they are others', false, nothing, nothing, ALL],
    [
      'has nothing that its own providers do not decrypt',
      false,
      nothing,
      async ({ provider }) => {
        provider.failing.decrypt = 'unavailable';
      },
      NOTHING,
    ],
    [
      'has nothing where it was refused itself before it was taken',
      true,
      nothing,
      async (setup) => {
        setup.provider.failing.decrypt = 'denied';
        const { ciphertext } = setup;
        await setup.keyring.decrypt({ ciphertext, purpose: 'seed' }, patience());
        delete setup.provider.failing.decrypt;
        await minute(setup);
      },
      NOTHING,
    ],
  ];
  for (const [what, sameProviders, before, during, expected] of rows) {
    it(what, async () => {
      const setup = await replaced(sameProviders, before, during);
      assert.deepEqual(await leftInAnOutage(setup), expected);
      await setup.keyring.stop();
    });
  }

  it('reads on what a provider has encrypted that only decrypts from now on', async () => {
    const setup = await keyringUnderTest();
    const { keyring, replace } = createKeyringSwap(setup.keyring);
    const writer = createFakeProvider('next', 9_000);
    const next = await startNode(writer, setup.clock, 10, [setup.provider]);
    const before = setup.provider.calls.decrypt;
    await replace(next.keyring, false);
    await settle();
    assert.equal(setup.provider.calls.decrypt, before + 1, 'one request for all of it');
    setup.provider.failing.all = 'unavailable';
    writer.failing.all = 'unavailable';
    await setup.clock.advance(MINUTE);
    assert.equal(await reading({ ...setup, keyring }), 'ok');
    assert.equal(await seeding({ ...setup, keyring }), 'unavailable');
    await keyring.stop();
  });

  it('makes nothing younger', async () => {
    const setup = await replaced(true, ({ clock }) => clock.advance(10 * MINUTE), nothing);
    setup.provider.failing.all = 'unavailable';
    await setup.clock.advance(50 * MINUTE);
    assert.equal(await reading(setup), 'unavailable');
    assert.equal(await seeding(setup), 'unavailable');
    await setup.keyring.stop();
  });

  it('keeps what it was handed over by the process before, where the other one was never ready', async () => {
    const { provider, clock, keyring, ...rest } = await keyringUnderTest();
    provider.failing.all = 'unavailable';
    const first = await startNode(provider, clock);
    delete provider.failing.all;
    const swap = createKeyringSwap(first.keyring);
    await swap.replace(keyring, true);
    const setup = { ...rest, provider, clock, keyring: swap.keyring };
    assert.deepEqual(await leftInAnOutage(setup), ALL);
    await setup.keyring.stop();
  });
});
