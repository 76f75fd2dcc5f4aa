/** The seed that a kube-apiserver asks for when it starts while the provider is away. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createDrivenClock } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';
import {
  comeBack,
  goAway,
  HOUR,
  keyringUnderTest,
  leftInAnOutage,
  MINUTE,
  NEXT,
  patience,
  reading,
  SEED,
  type Setup,
  sealed,
  seeding,
  startNode,
} from './outage-under-test.ts';

describe('a seed in an outage', () => {
  async function encrypted(setup: Setup) {
    const outcome = await setup.keyring.encrypt(NEXT, 'seed', patience());
    assert.ok(outcome.ok);
    const { kekSource } = outcome.value;
    assert.ok(kekSource !== undefined);
    return { ...outcome.value, kekSource };
  }

  it('is encrypted under a local KEK, with the key_id that Status announces', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const before = { ...setup.provider.calls };
    const { keyId, version, ciphertext, kekSource } = await encrypted(setup);
    const state = setup.keyring.state();
    assert.ok(state.kind === 'outage');
    assert.deepEqual({ keyId, version }, { keyId: state.key.keyId, version: 1 });
    assert.deepEqual(Buffer.from(kekSource), Buffer.from(setup.ciphertext));
    assert.equal(setup.keyring.versionOf(ciphertext), 1);
    assert.deepEqual(setup.provider.calls, before);
    assert.ok(setup.lines.some((line) => line.includes('seed encrypted under a local KEK')));
  });

  it('is decrypted in the same outage, and in each later one', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const { ciphertext, kekSource } = await encrypted(setup);
    for (let outage = 0; outage < 3; outage += 1) {
      const decrypted = await setup.keyring.decrypt(ciphertext, 'seed', patience(), kekSource);
      assert.ok(decrypted.ok);
      assert.deepEqual(Buffer.from(decrypted.value), NEXT);
      await comeBack(setup);
      await setup.clock.advance(3 * HOUR);
      await goAway(setup);
    }
  });

  it('is decrypted in the outage on every node that has read the earlier seed, too', async () => {
    const setup = await keyringUnderTest();
    const other = await startNode(setup.provider, setup.clock);
    const read = await other.keyring.decrypt(setup.ciphertext, 'seed', patience());
    assert.ok(read.ok);
    await goAway(setup);
    const { ciphertext, kekSource } = await encrypted(setup);
    const decrypted = await other.keyring.decrypt(ciphertext, 'seed', patience(), kekSource);
    assert.ok(decrypted.ok);
    assert.deepEqual(Buffer.from(decrypted.value), NEXT);
  });

  it('is decrypted by whoever may use the key, since it needs nothing of this process', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const { ciphertext, kekSource } = await encrypted(setup);
    delete setup.provider.failing.all;
    const other = await startNode(setup.provider, setup.clock);
    const decrypted = await other.keyring.decrypt(ciphertext, 'seed', patience(), kekSource);
    assert.ok(decrypted.ok);
    assert.deepEqual(Buffer.from(decrypted.value), NEXT);
  });

  it('waits for ten seconds first: what is away for a moment is asked again', async () => {
    const setup = await keyringUnderTest();
    setup.provider.failing.all = 'unavailable';
    assert.equal(await seeding(setup), 'unavailable');
    assert.equal(setup.keyring.state().kind, 'outage');
    await setup.clock.advance(10_000);
    assert.equal(await seeding(setup), 'ok');
  });

  it('waits for a provider that is only too busy', async () => {
    const setup = await keyringUnderTest();
    setup.provider.failing.all = 'throttled';
    await setup.clock.advance(MINUTE);
    assert.equal(setup.keyring.state().kind, 'outage');
    assert.equal(await seeding(setup), 'throttled');
  });

  it('waits for the provider where the earlier seed has grown too old', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    await setup.clock.advance(HOUR);
    assert.equal(await seeding(setup), 'unavailable');
  });

  it('waits for the provider where no seed was read that lies in etcd', async () => {
    const provider = createFakeProvider();
    const clock = createDrivenClock(1_000_000);
    const node = await startNode(provider, clock);
    const written = await node.keyring.encrypt(SEED, 'seed', patience());
    assert.ok(written.ok);
    const setup = { ...node, provider, clock, ciphertext: written.value.ciphertext };
    assert.deepEqual(await leftInAnOutage(setup), { read: 'ok', seed: 'unavailable' });
  });

  it('hangs on no older version of the key than its key_id names', async () => {
    const setup = await keyringUnderTest();
    setup.provider.rotate(2_000);
    await setup.clock.advance(MINUTE);
    assert.equal(await reading(setup), 'ok');
    await goAway(setup);
    assert.equal(await seeding(setup), 'unavailable');
    await comeBack(setup);
    assert.equal(await reading(setup, await sealed(setup.provider, 2)), 'ok');
    await goAway(setup);
    const { version, kekSource } = await encrypted(setup);
    assert.equal(version, 2);
    assert.match(Buffer.from(kekSource).toString('latin1'), /^fake:v2:/);
  });

  for (const purpose of ['dek', 'sample'] as const) {
    it(`is no ${purpose}: that waits for the provider`, async () => {
      const setup = await keyringUnderTest();
      await goAway(setup);
      assert.equal(await seeding(setup, purpose), 'unavailable');
    });
  }

  it('leaves neither itself nor a ciphertext in the log', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const { ciphertext, kekSource } = await encrypted(setup);
    const log = setup.lines.join('');
    assert.match(log, /local KEK/);
    for (const secret of [NEXT, SEED, ciphertext, kekSource]) {
      assert.ok(!log.includes(Buffer.from(secret).toString('latin1')));
      assert.ok(!log.includes(Buffer.from(secret).toString('base64')));
    }
  });
});
