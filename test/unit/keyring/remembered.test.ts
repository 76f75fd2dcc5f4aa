/** A keyring that starts with what the process before it has announced. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HandedOver } from '../../../src/keyring/handed-over.ts';
import { healthOf } from '../../../src/keyring/health.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { type AnnouncedKey, knownKey } from '../../../src/keyring/state.ts';
import { mayReplace } from '../../../src/keyring/swap.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { fail, succeed } from '../../../src/providers/errors.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

const MINUTE = 60_000;
const SEED = Buffer.alloc(32, 7);

async function start(
  provider: FakeProvider,
  key?: AnnouncedKey,
  sources: readonly Uint8Array[] = [],
  ciphertexts: readonly Uint8Array[] = [],
  left: Partial<HandedOver> = {},
) {
  const remembered = key && {
    ...{ key, isConfigured: true, sample: undefined, awaySince: undefined, stopped: undefined },
    ...{ sources, ciphertexts, ...left },
  };
  const clock = createDrivenClock(1_000_000);
  const keyring = createKeyring({
    ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, remembered },
    cache: { maxEntries: 10, maxAgeMs: 60 * MINUTE },
    ...{ clock, log: silentLog },
  });
  keyring.start();
  await settle();
  const status = (graceMs?: number) => healthOf(keyring.state(), clock.now(), graceMs);
  return { clock, keyring, status };
}

/** What a process has announced under version 2, and its provider. */
async function announced() {
  const provider = createFakeProvider();
  provider.rotate(2_000);
  const { keyring } = await start(provider);
  const key = knownKey(keyring.state());
  assert.ok(key !== undefined);
  await keyring.stop();
  return { provider, key };
}

describe('a keyring that starts while its provider is away', () => {
  it('announces the key_id from before, and healthz says what is wrong', async () => {
    const { provider, key } = await announced();
    provider.failing.all = 'unavailable';
    const { clock, keyring, status } = await start(provider, key);
    await clock.advance(60 * MINUTE);
    const now = status();
    assert.ok(now.ok);
    assert.equal(now.value.keyId, key.keyId);
    assert.match(now.value.healthz, /the provider has not been reached yet: .*unavailable/);
    assert.equal(status(30 * MINUTE).ok, false, 'outageGrace holds from the start');
    delete provider.failing.all;
    await clock.advance(2_000);
    assert.deepEqual(status(), { ok: true, value: { healthz: 'ok', keyId: key.keyId } });
    await keyring.stop();
  });

  const begins: readonly [string, number, boolean][] = [
    ['an hour ago', -60 * MINUTE, false],
    ['at a time that is still to come', 60 * MINUTE, true],
    ['years ago, as a clock says that was not set yet', -40 * 365 * 24 * 60 * MINUTE, true],
  ];
  for (const [what, offset, isWithin] of begins) {
    it(`counts the time of an outage that began ${what} ${isWithin ? 'from the start' : 'from then'}`, async () => {
      const { provider, key } = await announced();
      provider.failing.all = 'unavailable';
      const awaySince = 1_000_000 + offset;
      const { clock, keyring, status } = await start(provider, key, [], [], { awaySince });
      await clock.advance(MINUTE);
      assert.equal(status(30 * MINUTE).ok, isWithin);
      await keyring.stop();
    });
  }

  it('encrypts nothing before the provider has confirmed the key', async () => {
    const { provider, key } = await announced();
    provider.failing.describe = 'unavailable';
    const { clock, keyring } = await start(provider, key);
    const caller = new AbortController();
    const asked = keyring.encrypt(SEED, 'seed', caller.signal);
    await clock.advance(2_900);
    assert.equal(provider.calls.encrypt, 1, 'as before the restart');
    caller.abort();
    const outcome = await asked;
    assert.ok(!outcome.ok && outcome.error.kind === 'unavailable');
    await keyring.stop();
  });

  const outcomes = {
    works: succeed(undefined),
    'not reached': fail('unavailable', 'not reached'),
    refused: fail('denied', 'refused'),
  };
  type Row = readonly [string, (provider: FakeProvider) => void, boolean, readonly string[]];
  const rows: readonly Row[] = [
    [
      'is not reached',
      (p) => Object.assign(p.failing, { all: 'unavailable' }),
      true,
      ['works', 'not reached'],
    ],
    [
      'refuses',
      (p) => Object.assign(p.failing, { all: 'denied' }),
      false,
      ['works', 'not reached', 'refused'],
    ],
    [
      'refuses, the same provider',
      (p) => Object.assign(p.failing, { all: 'denied' }),
      true,
      ['works'],
    ],
    ['has another key', (p) => p.recreate(9_000), false, ['works']],
  ];
  for (const [what, change, sameWriter, expected] of rows) {
    it(`or ${what}, takes another configuration that is: ${expected.join(', ')}`, async () => {
      const { provider, key } = await announced();
      change(provider);
      const { clock, keyring } = await start(provider, key);
      await clock.advance(2 * MINUTE);
      const taken = Object.entries(outcomes)
        .filter(([, outcome]) => mayReplace(keyring.state(), outcome, sameWriter))
        .map(([name]) => name);
      assert.deepEqual(taken, expected);
      await keyring.stop();
    });
  }
});

describe('a keyring that starts and finds', () => {
  type Row = readonly [string, (provider: FakeProvider) => void, RegExp];
  const rows: readonly Row[] = [
    ['the same key: it is announced', () => undefined, /^ok fake:v2:/],
    ['a rotated key: the new version is announced', (p) => p.rotate(3_000), /^ok fake:v3:/],
    ['a refusal: it is one', (p) => Object.assign(p.failing, { all: 'denied' }), /^denied /],
    ['an older backup: the key is lost', (p) => p.restore(1), /^denied .*has lost version 2/],
    ['a key made again: the key is lost', (p) => p.recreate(9_000), /^denied .*is another key/],
  ];
  for (const [what, change, expected] of rows) {
    it(what, async () => {
      const { provider, key } = await announced();
      change(provider);
      const { clock, keyring, status } = await start(provider, key);
      await clock.advance(2 * MINUTE);
      const now = status();
      const text = now.ok
        ? `${now.value.healthz} ${now.value.keyId}`
        : `${now.error.kind} ${now.error.message}`;
      assert.match(text, expected);
      await keyring.stop();
    });
  }
});

describe('a keyring that starts after the process before it has stopped writes', () => {
  type Row = readonly ['lost' | 'refused', string, (provider: FakeProvider) => void, RegExp];
  const rows: readonly Row[] = [
    ['lost', 'an older backup', (p) => p.restore(1), /^denied .*has lost version 2/],
    ['lost', 'a key made again', (p) => p.recreate(9_000), /^denied .*is another key/],
    ['lost', 'nobody', (p) => Object.assign(p.failing, { all: 'unavailable' }), /^unavailable /],
    ['lost', 'the key, which is back', () => undefined, /^ok fake:v2:/],
    ['refused', 'an older backup', (p) => p.restore(1), /^(?:denied|unavailable) /],
    ['refused', 'a key made again', (p) => p.recreate(9_000), /^denied .*is another key/],
    ['refused', 'nobody', (p) => Object.assign(p.failing, { all: 'unavailable' }), /^unavailable /],
    ['refused', 'a refusal', (p) => Object.assign(p.failing, { all: 'denied' }), /^denied /],
    ['refused', 'the key, which may be used', () => undefined, /^ok fake:v2:/],
  ];
  for (const [stopped, what, change, expected] of rows) {
    it(`never says that the key is in use before the provider shows it: ${stopped}, and it finds ${what}`, async () => {
      const { provider, key } = await announced();
      change(provider);
      const { clock, keyring, status } = await start(provider, key, [], [], { stopped });
      for (let seconds = 0; seconds < 120; seconds += 1) {
        const now = status();
        const text = now.ok
          ? `${now.value.healthz} ${now.value.keyId}`
          : `${now.error.kind} ${now.error.message}`;
        assert.match(text, expected);
        await clock.advance(1_000);
      }
      await keyring.stop();
    });
  }
});

describe('a keyring that starts and finds the key lost that the process before it has announced', () => {
  type Row = readonly [HandedOver['stopped'], 'behind' | 'replaced', boolean];
  const rows: readonly Row[] = ([undefined, 'lost', 'refused'] as const).flatMap((stopped) => [
    [stopped, 'behind', true] as const,
    [stopped, 'replaced', false] as const,
  ]);
  for (const [stopped, how, isRescued] of rows) {
    it(`says so, and serves KMS v1 as before: ${how}, writes were stopped by: ${stopped}`, async () => {
      const { provider, key } = await announced();
      if (how === 'behind') provider.restore(1);
      else provider.recreate(9_000);
      const { clock, keyring } = await start(provider, key, [], [], { stopped });
      await clock.advance(MINUTE);
      const state = keyring.state();
      assert.ok(state.kind === 'lost');
      assert.deepEqual([state.key.keyId, state.instead.how], [key.keyId, how]);
      const never = new AbortController().signal;
      // Up to Kubernetes 1.28 a failure has kube-apiserver restarted, whose memory is the last that reads.
      assert.ok((await keyring.encrypt(Buffer.from('ping'), 'ping', never)).ok);
      assert.equal((await keyring.encrypt(SEED, 'dek', never)).ok, isRescued);
      assert.equal((await keyring.encrypt(SEED, 'seed', never)).ok, false);
      await keyring.stop();
    });
  }
});

describe('the sources of local KEKs', () => {
  /** What a process has encrypted for its kube-apiserver. */
  async function withSources() {
    const { provider, key } = await announced();
    const { keyring } = await start(provider);
    const never = new AbortController().signal;
    assert.ok((await keyring.encrypt(SEED, 'seed', never)).ok);
    const sources = keyring.sources();
    assert.equal(sources.length, 1);
    await keyring.stop();
    return { provider, key, sources };
  }

  it('outlive a restart while the provider is there, so that a kube-apiserver can start in the next outage', async () => {
    const { provider, key, sources } = await withSources();
    const { clock, keyring } = await start(provider, key, sources);
    await settle();
    assert.deepEqual(keyring.remembered(), { entries: 1, seeds: true });
    assert.deepEqual(keyring.sources(), sources);
    provider.failing.all = 'unavailable';
    await clock.advance(MINUTE);
    const made = await keyring.encrypt(SEED, 'seed', new AbortController().signal);
    assert.ok(made.ok && made.value.localKek !== undefined);
    await keyring.stop();
  });

  for (const rotated of [false, true])
    it(`are not the seeds of other nodes, which a kube-apiserver can read again all the same${rotated ? ', also after a rotation' : ''}`, async () => {
      const { provider, key, sources } = await withSources();
      const other = (await provider.encrypt([SEED], 2, new AbortController().signal))[0];
      assert.ok(other?.ok);
      const ciphertext = other.value;
      const { keyring: before } = await start(provider, key, sources);
      const never = new AbortController().signal;
      assert.ok((await before.decrypt({ ciphertext, purpose: 'seed' }, never)).ok);
      const handedOver = before.ciphertexts();
      assert.ok(handedOver.some((one) => Buffer.from(one).equals(ciphertext)));
      await before.stop();
      const asked = provider.calls.decrypt;
      if (rotated) provider.rotate(3_000);
      const { clock, keyring } = await start(provider, key, sources, handedOver);
      await settle();
      assert.ok(
        provider.calls.decrypt - asked <= 2,
        'one request beside the one that tries the key',
      );
      assert.deepEqual(keyring.sources(), rotated ? [] : sources);
      provider.failing.all = 'unavailable';
      await clock.advance(MINUTE);
      const read = await keyring.decrypt({ ciphertext, purpose: 'seed' }, never);
      assert.ok(read.ok && SEED.equals(read.value));
      await keyring.stop();
    });

  type Row = readonly [string, (provider: FakeProvider) => void];
  const none: readonly Row[] = [
    ['the key was rotated meanwhile', (provider) => provider.rotate(3_000)],
    ['the provider cannot decrypt them', (provider) => provider.recreate(2_000)],
    ['the provider refuses', (provider) => Object.assign(provider.failing, { decrypt: 'denied' })],
  ];
  for (const [what, change] of none) {
    it(`are none where ${what}`, async () => {
      const { provider, key, sources } = await withSources();
      change(provider);
      const { clock, keyring } = await start(provider, key, sources);
      await clock.advance(MINUTE);
      assert.equal(keyring.remembered()?.seeds, false);
      await keyring.stop();
      assert.equal(clock.pending, 0);
    });
  }

  it('are none where what was handed over is no seed of the key', async () => {
    const { provider, key } = await withSources();
    const strange = [Buffer.from('fake:v2:AAAA'), Buffer.from('none'), Buffer.alloc(0)];
    const { clock, keyring } = await start(provider, key, strange);
    await clock.advance(MINUTE);
    assert.deepEqual(keyring.remembered(), { entries: 0, seeds: false });
    await keyring.stop();
  });
});

describe('a key_id that takes the place of another one', () => {
  it('is announced when it outlives the process, and calls go on under the one before', async () => {
    const provider = createFakeProvider();
    const clock = createDrivenClock(1_000_000);
    const asked: { readonly version: number; readonly end: PromiseWithResolvers<void> }[] = [];
    const keyring = createKeyring({
      ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000 },
      announcing({ version }) {
        const end = Promise.withResolvers<void>();
        asked.push({ version, end });
        return end.promise;
      },
      ...{ clock, log: silentLog },
    });
    keyring.start();
    await settle();
    const encrypted = async (): Promise<number | undefined> => {
      const made = await keyring.encrypt(SEED, 'dek', new AbortController().signal);
      assert.ok(made.ok);
      return keyring.versionOf(made.value.ciphertext);
    };
    assert.equal(knownKey(keyring.state())?.version, 1, 'the first one takes the place of none');
    provider.rotate(2_000);
    await clock.advance(30_000);
    assert.deepEqual(
      asked.map(({ version }) => version),
      [2],
    );
    assert.equal(knownKey(keyring.state())?.version, 1);
    assert.equal(await encrypted(), 1);
    asked[0]?.end.resolve();
    await settle();
    assert.equal(knownKey(keyring.state())?.version, 2);
    assert.equal(await encrypted(), 2);
    await clock.advance(30_000);
    assert.equal(asked.length, 1, 'a key_id that is announced already waits for nothing');
    await keyring.stop();
  });
});
