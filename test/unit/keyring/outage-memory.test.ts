/** What a keyring can do by itself while its provider is away. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeyring, type Keyring } from '../../../src/keyring/keyring.ts';
import { createLog, silentLog } from '../../../src/observe/log.ts';
import { createDrivenClock, type DrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
const patience = (): AbortSignal => new AbortController().signal;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

type Setup = {
  readonly provider: FakeProvider;
  readonly clock: DrivenClock;
  readonly keyring: Keyring;
  readonly ciphertext: Uint8Array;
  readonly lines: string[];
};

async function keyringUnderTest(): Promise<Setup> {
  const provider = createFakeProvider();
  const clock = createDrivenClock(1_000_000);
  const lines: string[] = [];
  const keyring = createKeyring({
    writer: provider,
    readers: [provider],
    watchIntervalMs: 30_000,
    cache: { maxEntries: 10, maxAgeMs: HOUR },
    clock,
    log: createLog({ level: 'debug', format: 'json', write: (line) => void lines.push(line) }),
  });
  keyring.start();
  await settle();
  const encrypted = await keyring.encrypt(bytes('a seed'), 'dek', patience());
  assert.ok(encrypted.ok);
  const { ciphertext } = encrypted.value;
  assert.equal((await keyring.decrypt(ciphertext, patience())).ok, true);
  return { provider, clock, keyring, ciphertext, lines };
}

async function goAway({ provider, clock, keyring }: Setup): Promise<void> {
  provider.failing.all = 'unavailable';
  await clock.advance(34_000);
  assert.equal(keyring.state().kind, 'outage');
}

async function comeBack({ provider, clock, keyring }: Setup): Promise<void> {
  delete provider.failing.all;
  await clock.advance(2_000);
  assert.equal(keyring.state().kind, 'ready');
}

/** What a call comes to whose caller waits for a second. */
async function within<T>({ clock }: Setup, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const caller = new AbortController();
  const asked = ask(caller.signal);
  await clock.advance(1_000);
  caller.abort();
  return await asked;
}

describe('a keyring with a decrypt cache', () => {
  it('decrypts in an outage what it decrypted before', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const decrypted = await setup.keyring.decrypt(setup.ciphertext, patience());
    assert.ok(decrypted.ok);
    assert.deepEqual(Buffer.from(decrypted.value), bytes('a seed'));
  });

  it('decrypts in an outage what it has only encrypted, too', async () => {
    const setup = await keyringUnderTest();
    const { keyring } = setup;
    const written = await keyring.encrypt(bytes('just written'), 'seed', patience());
    assert.ok(written.ok);
    await goAway(setup);
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
    const setup = await keyringUnderTest();
    const { provider, keyring, ciphertext } = setup;
    provider.failing.decrypt = 'denied';
    assert.equal((await within(setup, (signal) => keyring.decrypt(ciphertext, signal))).ok, false);
    delete provider.failing.decrypt;
    provider.failing.all = 'unavailable';
    const later = await within(setup, (signal) => keyring.decrypt(ciphertext, signal));
    assert.ok(!later.ok && later.error.kind === 'unavailable');
  });

  it('forgets what was made with versions that policy has taken away', async () => {
    const setup = await keyringUnderTest();
    const { provider, clock, keyring, ciphertext } = setup;
    provider.rotate(2_000);
    provider.minDecryptionVersion = 2;
    await clock.advance(31_000);
    await goAway(setup);
    assert.equal((await within(setup, (signal) => keyring.decrypt(ciphertext, signal))).ok, false);
  });

  it('does not make anything younger by answering it', async () => {
    const setup = await keyringUnderTest();
    const { clock, keyring, ciphertext } = setup;
    await goAway(setup);
    await clock.advance(HOUR - MINUTE);
    assert.equal((await keyring.decrypt(ciphertext, patience())).ok, true);
    await clock.advance(MINUTE);
    assert.equal((await within(setup, (signal) => keyring.decrypt(ciphertext, signal))).ok, false);
  });

  it('remembers nothing while the provider refuses', async () => {
    const setup = await keyringUnderTest();
    const { provider, clock, keyring } = setup;
    provider.failing.decrypt = 'denied';
    await clock.advance(310_000);
    assert.equal(keyring.state().kind, 'refused');
    const written = await keyring.encrypt(bytes('written while refused'), 'dek', patience());
    assert.ok(written.ok);
    const { ciphertext } = written.value;
    provider.failing.all = 'unavailable';
    assert.equal((await within(setup, (signal) => keyring.decrypt(ciphertext, signal))).ok, false);
  });
});

describe('what a keyring remembers', () => {
  it('stays at hand for days, as long as the provider still decrypts it', async () => {
    const setup = await keyringUnderTest();
    await setup.clock.advance(48 * HOUR);
    await goAway(setup);
    assert.equal((await setup.keyring.decrypt(setup.ciphertext, patience())).ok, true);
  });

  it('is forgotten once the provider cannot decrypt it any more', async () => {
    const setup = await keyringUnderTest();
    const { provider, clock, keyring, ciphertext } = setup;
    provider.recreate(9_000);
    await clock.advance(30 * MINUTE);
    await goAway(setup);
    assert.equal((await within(setup, (signal) => keyring.decrypt(ciphertext, signal))).ok, false);
  });

  it('is forgotten whole, and no seed encrypted, once the provider refuses what is confirmed', async () => {
    const setup = await keyringUnderTest();
    const { provider, clock, keyring, ciphertext } = setup;
    await clock.advance(14 * MINUTE);
    provider.failing.decrypt = 'denied';
    while (keyring.state().kind === 'ready') await clock.advance(30_000);
    delete provider.failing.decrypt;
    provider.failing.all = 'unavailable';
    assert.equal((await within(setup, (signal) => keyring.decrypt(ciphertext, signal))).ok, false);
  });

  it('costs one request in five minutes', async () => {
    const { provider, clock } = await keyringUnderTest();
    await clock.advance(30 * MINUTE);
    const before = { ...provider.calls };
    await clock.advance(HOUR);
    // 12 tries of the key, and what was a quarter of an hour old.
    assert.ok(provider.calls.decrypt - before.decrypt <= 12 + 5, JSON.stringify(provider.calls));
    assert.ok(provider.calls.decrypt - before.decrypt > 12);
    assert.ok(provider.calls.encrypt - before.encrypt <= 12);
  });

  it('is confirmed within 5 s or not at all, and leaves no timer behind', async () => {
    const { provider, clock, keyring } = await keyringUnderTest();
    const { decrypt } = provider;
    let asked = 0;
    Object.assign(provider, {
      decrypt: (items: readonly Uint8Array[], signal: AbortSignal) => {
        if (items.length > 1 || asked > 0) return decrypt(items, signal);
        asked += 1;
        return new Promise(() => undefined);
      },
    });
    await clock.advance(20 * MINUTE);
    assert.equal(asked, 1);
    await clock.advance(HOUR);
    keyring.abandon();
    void keyring.stop();
    await settle();
    assert.equal(clock.pending, 0);
  });
});

describe('a seed in an outage', () => {
  const seed = (): Buffer => bytes('0123456789abcdef0123456789abcdef');

  async function encrypted(setup: Setup) {
    const outcome = await setup.keyring.encrypt(seed(), 'seed', patience());
    assert.ok(outcome.ok);
    const { wrappedKek } = outcome.value;
    assert.ok(wrappedKek !== undefined);
    return { ...outcome.value, wrappedKek };
  }

  it('is encrypted under a local KEK, with the key_id that Status announces', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const before = { ...setup.provider.calls };
    const { keyId, version, ciphertext } = await encrypted(setup);
    const state = setup.keyring.state();
    assert.ok(state.kind === 'outage');
    assert.deepEqual({ keyId, version }, { keyId: state.key.keyId, version: 1 });
    assert.match(Buffer.from(ciphertext).toString('latin1'), /^local-kek:v1:[A-Za-z0-9+/]+=*$/);
    assert.equal(setup.keyring.versionOf(ciphertext), 1);
    assert.deepEqual(setup.provider.calls, before);
    assert.ok(setup.lines.some((line) => line.includes('seed encrypted under a local KEK')));
  });

  it('is decrypted in the same outage, and in each later one', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const { ciphertext, wrappedKek } = await encrypted(setup);
    for (let outage = 0; outage < 3; outage += 1) {
      const decrypted = await setup.keyring.decrypt(ciphertext, patience(), wrappedKek);
      assert.ok(decrypted.ok);
      assert.deepEqual(Buffer.from(decrypted.value), seed());
      await comeBack(setup);
      await setup.clock.advance(3 * HOUR);
      await goAway(setup);
    }
  });

  it('is decrypted by every keyring of the same key, since it needs nothing of this process', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const { ciphertext, wrappedKek } = await encrypted(setup);
    delete setup.provider.failing.all;
    const other = createKeyring({
      writer: setup.provider,
      readers: [setup.provider],
      watchIntervalMs: 30_000,
      clock: setup.clock,
      log: silentLog,
    });
    other.start();
    await settle();
    const decrypted = await other.decrypt(ciphertext, patience(), wrappedKek);
    assert.ok(decrypted.ok);
    assert.deepEqual(Buffer.from(decrypted.value), seed());
  });

  it('waits for the provider where the cache holds nothing younger than its maximum age', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    await setup.clock.advance(HOUR);
    const outcome = await within(setup, (signal) => setup.keyring.encrypt(seed(), 'seed', signal));
    assert.ok(!outcome.ok && outcome.error.kind === 'unavailable');
  });

  it('waits for the provider once that has refused anything', async () => {
    const setup = await keyringUnderTest();
    const { provider, keyring, ciphertext } = setup;
    provider.failing.decrypt = 'denied';
    assert.equal((await within(setup, (signal) => keyring.decrypt(ciphertext, signal))).ok, false);
    provider.failing.all = 'unavailable';
    delete provider.failing.decrypt;
    await setup.clock.advance(40_000);
    const outcome = await within(setup, (signal) => keyring.encrypt(seed(), 'seed', signal));
    assert.equal(outcome.ok, false);
  });

  it('is no DEK of KMS v1: that waits for the provider, since v1 keeps nothing beside a ciphertext', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const outcome = await within(setup, (signal) => setup.keyring.encrypt(seed(), 'dek', signal));
    assert.ok(!outcome.ok && outcome.error.kind === 'unavailable');
  });

  it('is never under a KEK that an older key has wrapped', async () => {
    const setup = await keyringUnderTest();
    setup.provider.rotate(2_000);
    await setup.clock.advance(31_000);
    await goAway(setup);
    const { version, wrappedKek } = await encrypted(setup);
    assert.equal(version, 2);
    assert.match(Buffer.from(wrappedKek).toString('latin1'), /^fake:v2:/);
  });

  it('leaves neither itself nor a ciphertext in the log', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const { ciphertext, wrappedKek } = await encrypted(setup);
    const log = setup.lines.join('');
    for (const secret of [seed(), ciphertext, wrappedKek])
      assert.ok(!log.includes(Buffer.from(secret).toString('latin1')));
  });
});
