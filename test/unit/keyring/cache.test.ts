import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createDecryptCache } from '../../../src/keyring/cache.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';

const bytes = (text: string): Buffer => Buffer.from(text);

function underTest(maxEntries = 3) {
  const clock = createDrivenClock();
  return { clock, cache: createDecryptCache({ maxEntries, maxAgeMs: 60_000 }, clock) };
}

describe('a decrypt cache', () => {
  it('answers what was put into it, each time with bytes of the caller', () => {
    const { cache } = underTest();
    const plaintext = bytes('a plaintext');
    cache.put(bytes('one'), plaintext);
    plaintext.fill(0);
    cache.get(bytes('one'))?.fill(0);
    assert.deepEqual(cache.get(bytes('one')), bytes('a plaintext'));
    assert.equal(cache.get(bytes('two')), undefined);
  });

  it('forgets what is older than its maximum age', async () => {
    const { cache, clock } = underTest();
    cache.put(bytes('one'), bytes('1'));
    await clock.advance(59_999);
    assert.notEqual(cache.get(bytes('one')), undefined);
    await clock.advance(1);
    assert.equal(cache.get(bytes('one')), undefined);
    assert.equal(cache.size(), 0);
  });

  it('drops what the provider answered longest ago when it is full, used or not', () => {
    const { cache } = underTest(2);
    cache.put(bytes('one'), bytes('1'));
    cache.put(bytes('two'), bytes('2'));
    cache.put(bytes('one'), bytes('1'));
    cache.get(bytes('two'));
    cache.put(bytes('three'), bytes('3'));
    assert.equal(cache.get(bytes('two')), undefined);
    assert.deepEqual(cache.get(bytes('one')), bytes('1'));
    assert.equal(cache.size(), 2);
  });

  it('drops all that is too old when it is swept, asked for or not', async () => {
    const { cache, clock } = underTest();
    cache.put(bytes('one'), bytes('1'));
    await clock.advance(30_000);
    cache.put(bytes('two'), bytes('2'));
    await clock.advance(30_000);
    cache.sweep();
    assert.equal(cache.size(), 1);
  });

  it('answers nothing once it was emptied, and can be filled again', () => {
    const { cache } = underTest();
    cache.put(bytes('one'), bytes('1'));
    cache.clear();
    assert.equal(cache.get(bytes('one')), undefined);
    cache.put(bytes('one'), bytes('1'));
    assert.deepEqual(cache.get(bytes('one')), bytes('1'));
  });

  it('holds an empty plaintext too', () => {
    const { cache } = underTest();
    cache.put(bytes('one'), bytes(''));
    assert.deepEqual(cache.get(bytes('one')), bytes(''));
  });
});

describe('a keyring with a decrypt cache', () => {
  const patience = (): AbortSignal => new AbortController().signal;

  async function keyringUnderTest() {
    const provider = createFakeProvider();
    const clock = createDrivenClock(1_000_000);
    const keyring = createKeyring({
      writer: provider,
      readers: [provider],
      watchIntervalMs: 30_000,
      cache: { maxEntries: 10, maxAgeMs: 3_600_000 },
      clock,
      log: silentLog,
    });
    keyring.start();
    await settle();
    const encrypted = await keyring.encrypt(bytes('a seed'), 'form', patience());
    assert.ok(encrypted.ok);
    const { ciphertext } = encrypted.value;
    assert.equal((await keyring.decrypt(ciphertext, patience())).ok, true);
    return { provider, clock, keyring, ciphertext };
  }

  it('decrypts in an outage what it decrypted before', async () => {
    const { provider, clock, keyring, ciphertext } = await keyringUnderTest();
    provider.failing.all = 'unavailable';
    await clock.advance(31_000);
    assert.equal(keyring.state().kind, 'outage');
    const decrypted = await keyring.decrypt(ciphertext, patience());
    assert.ok(decrypted.ok);
    assert.deepEqual(Buffer.from(decrypted.value), bytes('a seed'));
  });

  it('decrypts in an outage what it has only encrypted, too', async () => {
    const { provider, clock, keyring } = await keyringUnderTest();
    const written = await keyring.encrypt(bytes('just written'), 'decrypt', patience());
    assert.ok(written.ok);
    provider.failing.all = 'unavailable';
    await clock.advance(31_000);
    const decrypted = await keyring.decrypt(written.value.ciphertext, patience());
    assert.ok(decrypted.ok);
    assert.deepEqual(Buffer.from(decrypted.value), bytes('just written'));
  });

  it('asks the provider as long as it answers, and memory as soon as it does not', async () => {
    const { provider, keyring, ciphertext } = await keyringUnderTest();
    const before = provider.calls.decrypt;
    assert.equal((await keyring.decrypt(ciphertext, patience())).ok, true);
    assert.equal(provider.calls.decrypt, before + 1);
    provider.failing.all = 'unavailable';
    assert.equal(keyring.state().kind, 'ready');
    assert.equal((await keyring.decrypt(ciphertext, patience())).ok, true);
  });

  it('decrypts nothing from memory once the provider has said no', async () => {
    const { provider, clock, keyring, ciphertext } = await keyringUnderTest();
    provider.failing.all = 'denied';
    await clock.advance(31_000);
    assert.equal(keyring.state().kind, 'refused');
    const refused = await keyring.decrypt(ciphertext, patience());
    assert.ok(!refused.ok && refused.error.kind === 'denied');
  });

  it('forgets all that it remembers once the provider has refused one of them', async () => {
    const { provider, clock, keyring, ciphertext } = await keyringUnderTest();
    provider.failing.decrypt = 'denied';
    const refused = keyring.decrypt(ciphertext, patience());
    await clock.advance(1_000);
    assert.equal((await refused).ok, false);
    delete provider.failing.decrypt;
    provider.failing.all = 'unavailable';
    const caller = new AbortController();
    const later = keyring.decrypt(ciphertext, caller.signal);
    await clock.advance(2_000);
    caller.abort();
    const outcome = await later;
    assert.ok(!outcome.ok && outcome.error.kind === 'unavailable');
  });

  it('forgets what was made with versions that policy has taken away', async () => {
    const { provider, clock, keyring, ciphertext } = await keyringUnderTest();
    provider.rotate(2_000);
    provider.minDecryptionVersion = 2;
    await clock.advance(31_000);
    provider.failing.all = 'unavailable';
    await clock.advance(31_000);
    assert.equal(keyring.state().kind, 'outage');
    const caller = new AbortController();
    const later = keyring.decrypt(ciphertext, caller.signal);
    await clock.advance(1_000);
    caller.abort();
    assert.equal((await later).ok, false);
  });

  it('does not make anything younger by answering it', async () => {
    const { provider, clock, keyring, ciphertext } = await keyringUnderTest();
    for (let minutes = 0; minutes < 60; minutes += 20) {
      provider.failing.all = 'unavailable';
      assert.equal((await keyring.decrypt(ciphertext, patience())).ok, true);
      delete provider.failing.all;
      await clock.advance(1_200_000);
    }
    provider.failing.all = 'unavailable';
    const caller = new AbortController();
    const later = keyring.decrypt(ciphertext, caller.signal);
    await clock.advance(1_000);
    caller.abort();
    assert.equal((await later).ok, false);
  });

  it('remembers nothing while the provider refuses', async () => {
    const { provider, clock, keyring } = await keyringUnderTest();
    provider.failing.decrypt = 'denied';
    await clock.advance(310_000);
    assert.equal(keyring.state().kind, 'refused');
    const written = await keyring.encrypt(bytes('written while refused'), 'form', patience());
    assert.ok(written.ok);
    provider.failing.all = 'unavailable';
    const caller = new AbortController();
    const later = keyring.decrypt(written.value.ciphertext, caller.signal);
    await clock.advance(1_000);
    caller.abort();
    assert.equal((await later).ok, false);
  });
});
