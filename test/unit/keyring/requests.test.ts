import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeyring, type Keyring } from '../../../src/keyring/keyring.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { fail } from '../../../src/providers/errors.ts';
import { createDrivenClock, type DrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

const PLAIN = Buffer.alloc(32, 7);
const MINUTE = 60_000;

type Setup = { keyring: Keyring; writer: FakeProvider; other: FakeProvider; clock: DrivenClock };

/** A ready keyring over a writer and one more reader. */
async function setUp(random = 0, cached = 0): Promise<Setup> {
  const [writer, other] = [createFakeProvider('writer'), createFakeProvider('other', 5_000)];
  const clock = createDrivenClock(1_000_000, random);
  const keyring = createKeyring({
    writer,
    readers: [writer, other],
    watchIntervalMs: 30_000,
    ...(cached > 0 ? { cache: { maxEntries: cached, maxAgeMs: 60 * MINUTE } } : {}),
    clock,
    log: silentLog,
  });
  keyring.start();
  await settle();
  return { keyring, writer, other, clock };
}

function requestsTo({ calls }: FakeProvider): number {
  return calls.describe + calls.encrypt + calls.decrypt;
}

async function sealedBy(provider: FakeProvider): Promise<Uint8Array> {
  const [sealed] = await provider.encrypt([PLAIN], 1, new AbortController().signal);
  assert.ok(sealed?.ok);
  return sealed.value;
}

describe('a provider that is idle', () => {
  const cases = [0, 0.5, 0.99].flatMap((random) => [0, 500].map((cached) => ({ random, cached })));
  for (const { random, cached } of cases) {
    const memory = cached === 0 ? '' : `, ${cached} seeds to be kept for an outage`;
    it(`gets at most 4 requests in any minute, with chance at ${random}${memory}`, async () => {
      const { writer, clock, keyring } = await setUp(random, cached);
      for (let i = 0; i < cached; i += 1)
        assert.ok((await keyring.encrypt(PLAIN, 'dek', new AbortController().signal)).ok);
      const times: number[] = [];
      let before = requestsTo(writer);
      for (let at = 0; at < 40 * MINUTE; at += 250) {
        await clock.advance(250);
        for (let n = requestsTo(writer) - before; n > 0; n -= 1) times.push(at);
        before = requestsTo(writer);
      }
      const most = Math.max(
        ...times.map((from) => times.filter((at) => at >= from && at < from + MINUTE).length),
      );
      assert.ok(times.length > 30, 'it is looked at');
      assert.ok(most <= 4, `${most} within a minute`);
    });
  }
});

describe('a provider that fails at once', () => {
  it('gets the calls that wait for it together, not one by one', async () => {
    const { keyring, writer, clock } = await setUp(0.5);
    const sealed = await Promise.all(Array.from({ length: 64 }, () => sealedBy(writer)));
    writer.failing.decrypt = 'unavailable';
    const before = writer.calls.decrypt;
    const caller = new AbortController();
    const calls = sealed.map((ciphertext) =>
      keyring.decrypt({ ciphertext: ciphertext, purpose: 'seed' }, caller.signal),
    );
    await clock.advance(2_900);
    const asked = writer.calls.decrypt - before;
    caller.abort();
    for (const call of calls) assert.equal((await call).ok, false);
    assert.ok(asked >= 5 && asked <= 20, `${asked} requests for 64 calls in 2.9 s`);
  });

  it('answers all that wait as soon as it can', async () => {
    const { keyring, writer, clock } = await setUp();
    const sealed = await Promise.all(Array.from({ length: 64 }, () => sealedBy(writer)));
    writer.failing.decrypt = 'unavailable';
    const never = new AbortController().signal;
    const calls = sealed.map((ciphertext) =>
      keyring.decrypt({ ciphertext: ciphertext, purpose: 'seed' }, never),
    );
    await clock.advance(1_000);
    delete writer.failing.decrypt;
    await clock.advance(1_000);
    for (const call of calls) assert.equal((await call).ok, true);
  });
});

describe('looks at the writer', () => {
  it('are not brought on by another provider that is down', async () => {
    const { keyring, writer, other, clock } = await setUp();
    const sealed = await sealedBy(other);
    other.failing.all = 'unavailable';
    const looks = writer.calls.describe;
    const caller = new AbortController();
    const call = keyring.decrypt({ ciphertext: sealed, purpose: 'seed' }, caller.signal);
    await clock.advance(10_000);
    caller.abort();
    await call;
    assert.equal(writer.calls.describe, looks);
  });

  it('are not brought on by callers who leave', async () => {
    const { keyring, writer, clock } = await setUp();
    const sealed = await sealedBy(writer);
    const { decrypt } = writer;
    writer.decrypt = (_items, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => resolve(decrypt([], signal)));
      });
    const looks = writer.calls.describe;
    for (let i = 0; i < 20; i += 1) {
      const caller = new AbortController();
      const call = keyring.decrypt({ ciphertext: sealed, purpose: 'seed' }, caller.signal);
      await clock.advance(100);
      caller.abort();
      assert.equal((await call).ok, false);
    }
    assert.equal(writer.calls.describe, looks);
  });

  it('become rare where the key is well and one ciphertext is refused over and over', async () => {
    const { keyring, writer, clock } = await setUp();
    const sealed = await sealedBy(writer);
    const { decrypt } = writer;
    writer.decrypt = async (items, signal) => {
      const results = await decrypt(items, signal);
      const isOld = (item: Uint8Array | undefined): boolean =>
        item !== undefined && Buffer.compare(item, sealed) === 0;
      return results.map((result, i) => (isOld(items[i]) ? fail('denied', 'too old') : result));
    };
    const looks = writer.calls.describe;
    for (let i = 0; i < 60; i += 1) {
      const call = keyring.decrypt(
        { ciphertext: sealed, purpose: 'seed' },
        new AbortController().signal,
      );
      await clock.advance(1_000);
      assert.equal((await call).ok, false);
    }
    const asked = writer.calls.describe - looks;
    assert.ok(asked <= 10, `${asked} looks in a minute`);
  });
});

describe('a provider that asks to be left alone', () => {
  it('is asked nothing until then, and Status says meanwhile what is wrong', async () => {
    const { keyring, writer, clock } = await setUp(0.99);
    const sealed = await sealedBy(writer);
    Object.assign(writer.failing, { all: 'throttled' });
    writer.retryAfterMs = 20_000;
    const call = keyring.decrypt(
      { ciphertext: sealed, purpose: 'seed' },
      new AbortController().signal,
    );
    await settle();
    const asked = requestsTo(writer);
    await clock.advance(100);
    const state = keyring.state();
    assert.ok(state.kind === 'outage' && state.why.kind === 'throttled');
    await clock.advance(19_800);
    assert.equal(requestsTo(writer), asked);
    delete writer.failing.all;
    await clock.advance(200);
    assert.equal((await call).ok, true);
    await clock.advance(2_000);
    assert.equal(keyring.state().kind, 'ready');
  });
});

describe('an encrypt that is under way while another version is announced', () => {
  it('is made with that one where policy has taken the earlier one away', async () => {
    const { keyring, writer, clock } = await setUp();
    const encrypt = writer.encrypt.bind(writer);
    const underWay = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    writer.encrypt = async (plaintexts, version, signal) => {
      if (version > 1) return await encrypt(plaintexts, version, signal);
      underWay.resolve();
      await answer.promise;
      return plaintexts.map(() => fail('invalid', 'version is less than the minimum'));
    };
    const encrypted = keyring.encrypt(PLAIN, 'dek', new AbortController().signal);
    await underWay.promise;
    writer.rotate(2_000_000);
    await clock.advance(31_000);
    const state = keyring.state();
    assert.equal(state.kind === 'ready' && state.key.version, 2);
    answer.resolve();
    await clock.advance(1_000);
    const outcome = await encrypted;
    assert.equal(outcome.ok && outcome.value.version, 2);
  });
});
