import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeyring, type Keyring } from '../../../src/keyring/keyring.ts';
import { knownKey } from '../../../src/keyring/state.ts';
import { createKeyringSwap, mayReplace } from '../../../src/keyring/swap.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { fail, type Result, succeed } from '../../../src/providers/errors.ts';
import { createDrivenClock, type DrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

const PLAIN = Buffer.from('0123456789abcdef0123456789abcdef');
const never = new AbortController().signal;

type Made = { readonly keyring: Keyring; readonly provider: FakeProvider; stops: number };

async function made(
  name: string,
  clock: DrivenClock,
  failing: FakeProvider['failing'] = {},
): Promise<Made> {
  const fake = createFakeProvider(name);
  Object.assign(fake.failing, failing);
  const provider: FakeProvider = Object.assign(fake, {
    stop: async (): Promise<void> => {
      all.stops += 1;
    },
  });
  const options = { writer: provider, readers: [provider], watchIntervalMs: 30_000, clock };
  const keyring = createKeyring({ ...options, log: silentLog });
  const all: Made = { keyring, provider, stops: 0 };
  keyring.start();
  await settle();
  return all;
}

/** Makes the provider's encrypt wait; answers what lets it go on. */
function hold(provider: FakeProvider): () => void {
  const gate = Promise.withResolvers<void>();
  const encrypt = provider.encrypt;
  provider.encrypt = async (...args) => {
    await gate.promise;
    return await encrypt(...args);
  };
  return gate.resolve;
}

function value<T>(result: Result<T>): T {
  assert.ok(result.ok, result.ok ? '' : `${result.error.kind}: ${result.error.message}`);
  return result.value;
}

describe('a keyring that is put in the place of another', () => {
  it('gets the new calls at once, and announces the key that they are answered with', async () => {
    const clock = createDrivenClock();
    const [a, b] = [await made('a', clock), await made('b', clock)];
    const { keyring, replace } = createKeyringSwap(a.keyring);
    const before = value(await keyring.encrypt(PLAIN, 'seed', never));
    assert.equal(before.keyId, knownKey(keyring.state())?.keyId);
    const replaced = replace(b.keyring);
    const encrypting = keyring.encrypt(PLAIN, 'seed', never);
    const announced = knownKey(keyring.state())?.keyId;
    const after = value(await encrypting);
    assert.equal(after.keyId, announced);
    assert.notEqual(after.keyId, before.keyId);
    await replaced;
    assert.deepEqual([a.stops, b.stops], [1, 0]);
  });

  it('waits for the calls under way, which end on the keyring that they began with', async () => {
    const clock = createDrivenClock();
    const [a, b] = [await made('a', clock), await made('b', clock)];
    const { keyring, replace } = createKeyringSwap(a.keyring);
    const old = knownKey(keyring.state())?.keyId;
    const release = hold(a.provider);
    const calls = Array.from({ length: 64 }, () => keyring.encrypt(PLAIN, 'dek', never));
    await settle();
    const replaced = replace(b.keyring);
    await settle();
    assert.equal(a.stops, 0);
    release();
    for (const call of calls) assert.equal(value(await call).keyId, old);
    await replaced;
    assert.equal(a.stops, 1);
    assert.equal(keyring.queued(), 0);
  });

  it('takes over calls that wait for one that has gone away', async () => {
    const clock = createDrivenClock();
    const [a, b] = [await made('a', clock), await made('b', clock)];
    const { keyring, replace } = createKeyringSwap(a.keyring);
    a.provider.failing.all = 'unavailable';
    const call = keyring.encrypt(PLAIN, 'dek', never);
    await settle();
    const replaced = replace(b.keyring);
    await settle();
    assert.equal(value(await call).keyId, idOf(b));
    await replaced;
    assert.equal(a.stops, 1);
  });

  it('takes over calls that wait for one that was never ready', async () => {
    const clock = createDrivenClock();
    const [a, b] = [await made('a', clock, { all: 'unavailable' }), await made('b', clock)];
    const { keyring, replace } = createKeyringSwap(a.keyring);
    const encrypting = keyring.encrypt(PLAIN, 'seed', never);
    await settle();
    const replaced = replace(b.keyring);
    await clock.advance(1_000);
    assert.equal(value(await encrypting).keyId, knownKey(b.keyring.state())?.keyId);
    await replaced;
    assert.equal(a.stops, 1);
  });

  it('leaves a call alone whose caller has gone', async () => {
    const clock = createDrivenClock();
    const [a, b] = [await made('a', clock, { all: 'unavailable' }), await made('b', clock)];
    const { keyring, replace } = createKeyringSwap(a.keyring);
    const caller = new AbortController();
    const encrypting = keyring.encrypt(PLAIN, 'dek', caller.signal);
    await settle();
    caller.abort();
    const replaced = replace(b.keyring);
    const outcome = await encrypting;
    assert.ok(!outcome.ok && outcome.error.kind === 'unavailable');
    assert.equal(b.provider.calls.encrypt, 1, 'the self-test alone');
    await replaced;
  });

  it('can be replaced in turn while the one before still works', async () => {
    const clock = createDrivenClock();
    const [a, b, c] = [await made('a', clock), await made('b', clock), await made('c', clock)];
    const { keyring, replace } = createKeyringSwap(a.keyring);
    const release = hold(a.provider);
    const call = keyring.encrypt(PLAIN, 'dek', never);
    await settle();
    const first = replace(b.keyring);
    await replace(c.keyring);
    assert.deepEqual([a.stops, b.stops, c.stops], [0, 1, 0]);
    release();
    value(await call);
    await first;
    assert.equal(value(await keyring.encrypt(PLAIN, 'dek', never)).keyId, idOf(c));
    await keyring.stop();
    assert.deepEqual([a.stops, b.stops, c.stops], [1, 1, 1]);
    assert.equal(clock.pending, 0);
  });

  it('ends with all that were replaced', async () => {
    const clock = createDrivenClock();
    const [a, b] = [await made('a', clock), await made('b', clock)];
    const { keyring, replace } = createKeyringSwap(a.keyring);
    const release = hold(a.provider);
    const call = keyring.encrypt(PLAIN, 'dek', never);
    await settle();
    void replace(b.keyring);
    const stopped = keyring.stop();
    release();
    await stopped;
    value(await call);
    assert.deepEqual([a.stops, b.stops], [1, 1]);
  });
});

function idOf({ keyring }: Made): string | undefined {
  return knownKey(keyring.state())?.keyId;
}

describe('whether a keyring that was tried may replace the one in use', () => {
  const outcomes = {
    works: succeed(undefined),
    'not reached': fail('unavailable', 'sealed'),
    refused: fail('denied', 'no'),
  };
  for (const [inUse, failing, allowed] of [
    ['one that works', {}, ['works']],
    ['one not reached yet', { all: 'unavailable' }, ['works', 'not reached']],
    ['one refused from the start', { all: 'denied' }, ['works', 'not reached', 'refused']],
  ] as const) {
    it(`in the place of ${inUse}: ${allowed.join(', ')}`, async () => {
      const { keyring } = await made('a', createDrivenClock(), failing);
      const taken = Object.entries(outcomes)
        .filter(([, outcome]) => mayReplace(keyring.state(), outcome, true))
        .map(([name]) => name);
      assert.deepEqual(taken, allowed);
    });
  }

  it('in the place of one that worked before an outage: only one that works', async () => {
    const clock = createDrivenClock();
    const { keyring, provider } = await made('a', clock);
    provider.failing.all = 'unavailable';
    await clock.advance(30_000);
    assert.equal(keyring.state().kind, 'outage');
    assert.equal(mayReplace(keyring.state(), outcomes['not reached'], false), false);
    assert.equal(mayReplace(keyring.state(), outcomes.works, false), true);
  });
});
