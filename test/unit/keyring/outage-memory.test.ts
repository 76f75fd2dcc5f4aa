/** What a keyring decrypts by itself while its provider is away. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fail } from '../../../src/providers/errors.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { settle } from '../driven-clock.ts';
import {
  ALL,
  announcedBy,
  comeBack,
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
  sealed,
  seeding,
  withTwoProviders,
} from './outage-under-test.ts';

describe('a keyring with a decrypt cache', () => {
  it('decrypts in an outage what it decrypted before', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const decrypted = await setup.keyring.decrypt(
      { ciphertext: setup.ciphertext, purpose: 'seed' },
      patience(),
    );
    assert.ok(decrypted.ok);
    assert.deepEqual(Buffer.from(decrypted.value), SEED);
  });

  it('decrypts in an outage what it has only encrypted, too', async () => {
    const setup = await keyringUnderTest();
    const written = await setup.keyring.encrypt(NEXT, 'seed', patience());
    assert.ok(written.ok);
    await goAway(setup);
    const decrypted = await setup.keyring.decrypt(
      { ciphertext: written.value.ciphertext, purpose: 'seed' },
      patience(),
    );
    assert.ok(decrypted.ok);
    assert.deepEqual(Buffer.from(decrypted.value), NEXT);
  });

  it('asks the provider as long as it answers, and memory as soon as it does not', async () => {
    const { provider, keyring, ciphertext } = await keyringUnderTest();
    const before = provider.calls.decrypt;
    assert.equal((await keyring.decrypt({ ciphertext, purpose: 'seed' }, patience())).ok, true);
    assert.equal(provider.calls.decrypt, before + 1);
    provider.failing.all = 'unavailable';
    assert.equal(keyring.state().kind, 'ready');
    assert.equal((await keyring.decrypt({ ciphertext, purpose: 'seed' }, patience())).ok, true);
  });

  it('asks another provider that can decrypt it while the one that encrypts is away', async () => {
    const { writer, other, clock, keyring } = await withTwoProviders();
    const ofOther = await sealed(other);
    assert.equal(
      (await keyring.decrypt({ ciphertext: ofOther, purpose: 'seed' }, patience())).ok,
      true,
    );
    writer.failing.all = 'unavailable';
    await clock.advance(MINUTE);
    const before = other.calls.decrypt;
    const asked = keyring.decrypt({ ciphertext: ofOther, purpose: 'seed' }, patience());
    await clock.advance(3_000);
    assert.equal((await asked).ok, true);
    assert.equal(other.calls.decrypt, before + 1);
  });

  it('makes nothing younger by answering it', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    await setup.clock.advance(HOUR - 2 * MINUTE);
    assert.equal(await reading(setup), 'ok');
    await setup.clock.advance(MINUTE);
    assert.equal(await reading(setup), 'unavailable');
  });

  it('remembers nothing of a sample, since nobody stores it', async () => {
    const setup = await keyringUnderTest();
    const sample = await setup.keyring.encrypt(NEXT, 'sample', patience());
    assert.ok(sample.ok);
    const { ciphertext } = sample.value;
    assert.equal(
      (await setup.keyring.decrypt({ ciphertext, purpose: 'sample' }, patience())).ok,
      true,
    );
    await goAway(setup);
    assert.equal(await reading(setup, ciphertext), 'unavailable');
  });

  it('says how much it remembers, and whether a kube-apiserver would get its seed', async () => {
    const setup = await keyringUnderTest();
    assert.deepEqual(setup.keyring.remembered(), { entries: 1, seeds: true });
    setup.provider.rotate(2_000);
    await setup.clock.advance(MINUTE);
    assert.deepEqual(setup.keyring.remembered(), { entries: 1, seeds: false });
    assert.equal(await seeding(setup), 'ok');
    assert.deepEqual(setup.keyring.remembered(), { entries: 2, seeds: true });
    await setup.keyring.stop();
    assert.deepEqual(setup.keyring.remembered(), { entries: 0, seeds: false });
  });
});

describe('what a keyring remembers', () => {
  it('is left for an outage', async () => {
    assert.deepEqual(await leftInAnOutage(await keyringUnderTest()), ALL);
  });

  it('is refused while the provider refuses, and forgotten for the time after it', async () => {
    const setup = await keyringUnderTest();
    setup.provider.failing.all = 'denied';
    await setup.clock.advance(MINUTE);
    assert.equal(setup.keyring.state().kind, 'refused');
    assert.equal(await reading(setup), 'denied');
    await comeBack(setup);
    assert.deepEqual(await leftInAnOutage(setup), NOTHING);
    assert.ok(setup.lines.some((line) => line.includes('kept for an outage is forgotten')));
  });

  for (const kind of ['denied', 'unauthenticated'] as const) {
    it(`is forgotten whole once the provider has answered one ciphertext with ${kind}`, async () => {
      const setup = await keyringUnderTest();
      const another = await sealed(setup.provider);
      refuse(setup.provider, another, kind);
      assert.equal(await reading(setup, another), kind);
      assert.equal(setup.keyring.state().kind, 'ready');
      assert.deepEqual(await leftInAnOutage(setup), NOTHING);
    });
  }

  it('is forgotten once the provider has refused to encrypt, and went away before it was looked at', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    setup.provider.failing.encrypt = 'denied';
    assert.equal(await seeding(setup, 'dek'), 'denied');
    await setup.clock.advance(1_000);
    assert.deepEqual(setup.keyring.remembered(), { entries: 0, seeds: false });
  });

  it('is forgotten once the provider has refused to encrypt, though the caller did not wait for the look', async () => {
    const setup = await keyringUnderTest();
    const { provider, clock } = setup;
    const { describe: described } = provider;
    provider.failing.encrypt = 'denied';
    const silent: Provider['describe'] = (signal) =>
      new Promise((resolve) => {
        const end = (): void => resolve(fail('unavailable', 'was given up'));
        signal.addEventListener('abort', end, { once: true });
      });
    Object.assign(provider, { describe: silent });
    assert.equal(await seeding(setup, 'dek'), 'denied');
    assert.deepEqual(setup.keyring.remembered(), { entries: 1, seeds: true });
    await clock.advance(MINUTE);
    assert.equal(setup.keyring.state().kind, 'outage');
    Object.assign(provider, { describe: described });
    assert.deepEqual(setup.keyring.remembered(), { entries: 0, seeds: false });
  });

  it('is kept where a ciphertext is refused that policy had ruled out before', async () => {
    const setup = await keyringUnderTest();
    const old = await sealed(setup.provider);
    setup.provider.rotate(2_000);
    setup.provider.minDecryptionVersion = 2;
    await setup.clock.advance(MINUTE);
    const current = await sealed(setup.provider, 2);
    assert.equal(await reading(setup, current, announcedBy(setup)), 'ok');
    refuse(setup.provider, old, 'denied');
    assert.equal(await reading(setup, old), 'denied');
    await goAway(setup);
    assert.equal(await reading(setup, current), 'ok');
  });

  it('is forgotten where policy takes its version away, and only there', async () => {
    const setup = await keyringUnderTest();
    setup.provider.rotate(2_000);
    await setup.clock.advance(MINUTE);
    const current = await sealed(setup.provider, 2);
    assert.equal(await reading(setup, current, announcedBy(setup)), 'ok');
    assert.equal(await seeding(setup), 'ok');
    setup.provider.minDecryptionVersion = 2;
    await setup.clock.advance(MINUTE);
    assert.deepEqual(await leftInAnOutage(setup), { read: 'unavailable', seed: 'ok' });
    assert.equal(await reading(setup, current), 'ok');
  });

  it('is forgotten alone where it is refused and policy had ruled it out before', async () => {
    const setup = await keyringUnderTest();
    const old = await sealed(setup.provider);
    setup.provider.rotate(2_000);
    setup.provider.minDecryptionVersion = 2;
    await setup.clock.advance(MINUTE);
    assert.equal(await reading(setup, old), 'ok'); // the fake does not enforce it
    const { decrypt } = setup.provider;
    refuse(setup.provider, old, 'denied');
    assert.equal(await reading(setup, old), 'denied');
    Object.assign(setup.provider, { decrypt });
    await goAway(setup);
    assert.equal(await reading(setup, old), 'unavailable');
  });

  it('costs a refused call the same, whether there is one entry or a thousand', async (t) => {
    const setup = await keyringUnderTest(1_000);
    const old = await sealed(setup.provider);
    setup.provider.rotate(2_000);
    setup.provider.minDecryptionVersion = 2;
    await setup.clock.advance(MINUTE);
    for (let i = 0; i < 1_000; i += 1)
      assert.ok((await setup.keyring.encrypt(NEXT, 'dek', patience())).ok);
    assert.equal(setup.keyring.remembered()?.entries, 1_000);
    refuse(setup.provider, old, 'denied');
    // The length in front of each entry is read when it is opened.
    const opened = t.mock.method(Buffer.prototype, 'readUInt32BE');
    for (let i = 0; i < 8; i += 1)
      assert.equal(
        (await setup.keyring.decrypt({ ciphertext: old, purpose: 'seed' }, patience())).ok,
        false,
      );
    setup.provider.minDecryptionVersion = 3;
    await setup.clock.advance(MINUTE);
    assert.deepEqual([setup.keyring.remembered()?.entries, opened.mock.callCount()], [0, 0]);
  });

  it('is forgotten once one that only decrypts has refused, though another one is away', async () => {
    const { writer, other, clock, keyring } = await withTwoProviders();
    const ciphertext = await sealed(writer);
    assert.ok((await keyring.decrypt({ ciphertext, purpose: 'seed' }, patience())).ok);
    Object.assign(other, { versionOf: writer.versionOf });
    writer.failing.all = 'unavailable';
    other.failing.decrypt = 'denied';
    await clock.advance(MINUTE);
    const caller = new AbortController();
    const asked = keyring.decrypt({ ciphertext, purpose: 'seed' }, caller.signal);
    await clock.advance(3_000);
    caller.abort();
    assert.equal((await asked).ok, false);
    assert.deepEqual(keyring.remembered(), { entries: 0, seeds: false });
    await keyring.stop();
  });

  it('answers within half a second where several providers decrypt, and none that is away says so', async () => {
    const { writer, other, clock, keyring } = await withTwoProviders();
    const ciphertext = await sealed(writer);
    assert.ok((await keyring.decrypt({ ciphertext, purpose: 'seed' }, patience())).ok);
    writer.failing.all = 'unavailable';
    await clock.advance(MINUTE);
    assert.equal(keyring.state().kind, 'outage');
    const silent = () => new Promise<never>(() => undefined);
    for (const away of [[writer], [writer, other]]) {
      for (const provider of away) Object.assign(provider, { decrypt: silent });
      const read = keyring.decrypt({ ciphertext, purpose: 'seed' }, patience());
      await clock.advance(500);
      const outcome = await Promise.race([read, settle().then(() => 'no answer' as const)]);
      assert.ok(outcome !== 'no answer' && outcome.ok, `${away.length} are away`);
    }
  });

  for (const refuses of ['the one that encrypts', 'the one that only decrypts'] as const) {
    for (const retired of [true, false] as const) {
      const kept = retired ? 'is kept, but for that one,' : 'is forgotten';
      it(`${kept} where ${refuses} of two providers refuses one ciphertext${retired ? ' for its version' : ''}`, async () => {
        const { writer, other, keyring } = await withTwoProviders();
        const [old, fresh] = [await sealed(writer), await sealed(writer)];
        Object.assign(other, { versionOf: writer.versionOf });
        const read = (ciphertext: Uint8Array) =>
          keyring.decrypt({ ciphertext, purpose: 'seed' }, patience());
        for (const one of [old, fresh]) assert.ok((await read(one)).ok);
        const which = refuses === 'the one that encrypts' ? writer : other;
        refuse(writer, old, 'invalid');
        refuse(which, old, 'denied', retired ? { retired } : {});
        const outcome = await read(old);
        assert.ok(!outcome.ok && outcome.error.kind === 'denied', 'the refusal is what is told');
        assert.equal(keyring.remembered()?.entries, retired ? 1 : 0);
        await keyring.stop();
      });
    }
  }

  it('does not come back with an answer that was under way when the provider refused', async () => {
    const setup = await keyringUnderTest();
    const { provider, keyring, ciphertext, keyId, clock } = setup;
    const { decrypt } = provider;
    const late = Promise.withResolvers<void>();
    Object.assign(provider, {
      decrypt: async (items: readonly Uint8Array[], signal: AbortSignal) => {
        const results = await decrypt(items, signal);
        if (items.some((item) => Buffer.from(item).equals(ciphertext))) await late.promise;
        return results;
      },
    });
    const asked = keyring.decrypt({ ciphertext, purpose: 'seed', keyId }, patience());
    await settle();
    provider.failing.all = 'denied';
    await clock.advance(MINUTE);
    await comeBack(setup);
    late.resolve();
    assert.equal((await asked).ok, true);
    assert.deepEqual(keyring.remembered(), { entries: 0, seeds: false });
  });

  it('is no ping of KMS v1, which is not worth a place', async () => {
    const setup = await keyringUnderTest();
    assert.ok((await setup.keyring.encrypt(Buffer.from('ping'), 'dek', patience())).ok);
    assert.deepEqual(setup.keyring.remembered(), { entries: 1, seeds: true });
  });

  it('is never added to while the provider refuses', async () => {
    const setup = await keyringUnderTest();
    setup.provider.failing.describe = 'denied';
    await setup.clock.advance(MINUTE);
    assert.equal(setup.keyring.state().kind, 'refused');
    const { keyring, ciphertext, keyId } = setup;
    assert.ok((await keyring.encrypt(NEXT, 'dek', patience())).ok);
    assert.deepEqual(keyring.remembered(), { entries: 0, seeds: false });
    assert.ok((await keyring.decrypt({ ciphertext, keyId, purpose: 'seed' }, patience())).ok);
    assert.deepEqual(keyring.remembered(), { entries: 0, seeds: false });
  });
});
