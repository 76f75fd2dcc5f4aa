/** What is in memory is answered at once where the provider that made it is known to be away. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fail } from '../../../src/providers/errors.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { settle } from '../driven-clock.ts';
import type { FakeProvider } from '../fake-provider.ts';
import { MINUTE, patience, sealed, withTwoProviders } from './outage-under-test.ts';

type Setup = Awaited<ReturnType<typeof withTwoProviders>>;
type Role = 'writer' | 'other';

/** Takes each request and answers none, as a host that drops what is sent to it. */
function silence(provider: FakeProvider): void {
  const hangs =
    <T>(given: T) =>
    (signal: AbortSignal): Promise<T> =>
      new Promise((resolve) => {
        const end = (): void => resolve(given);
        signal.addEventListener('abort', end, { once: true });
        if (signal.aborted) end();
      });
  const away = fail('unavailable', 'was given up');
  const all: Pick<Provider, 'describe' | 'encrypt' | 'decrypt' | 'mayDecrypt'> = {
    describe: hangs(away),
    mayDecrypt: hangs(away),
    encrypt: (items, _version, signal) => hangs(items.map(() => away))(signal),
    decrypt: (items, signal) => hangs(items.map(() => away))(signal),
  };
  Object.assign(provider, all);
}

/** Its ciphertexts are of another form than those of the other one, as of a local keyring beside Vault. */
function ofAnotherForm(provider: FakeProvider): void {
  const { encrypt, decrypt, versionOf } = provider;
  /** The provider beneath looks at the version itself, and knows its own form only. */
  let isBeneath = false;
  const named = (text: string, from: string, to: string): Uint8Array =>
    Buffer.from(text.replace(new RegExp(`^${from}:`), `${to}:`));
  Object.assign(provider, {
    async encrypt(items: readonly Uint8Array[], version: number, signal: AbortSignal) {
      const made = await encrypt(items, version, signal);
      return made.map((one) =>
        one.ok ? { ...one, value: named(Buffer.from(one.value).toString(), 'fake', 'own') } : one,
      );
    },
    decrypt(items: readonly Uint8Array[], signal: AbortSignal) {
      const beneath = items.map((one) => named(Buffer.from(one).toString(), 'own', 'fake'));
      isBeneath = true;
      const results = decrypt(beneath, signal);
      isBeneath = false;
      return results;
    },
    versionOf(one: Uint8Array) {
      if (isBeneath) return versionOf(one);
      return Buffer.from(one).toString().startsWith('own:')
        ? versionOf(named(Buffer.from(one).toString(), 'own', 'fake'))
        : undefined;
    },
  });
}

/** Whether it is answered before any time has passed. */
async function isAtOnce({ keyring }: Setup, ciphertext: Uint8Array): Promise<boolean> {
  const read = keyring.decrypt({ ciphertext, purpose: 'dek' }, patience());
  const outcome = await Promise.race([read, settle().then(() => 'no answer' as const)]);
  return outcome !== 'no answer' && outcome.ok;
}

/** What the writer has encrypted is in the cache, and the writer is down. */
async function cachedInOutage() {
  const setup = await withTwoProviders();
  const { keyring, clock, writer } = setup;
  const ciphertext = await sealed(writer);
  assert.ok((await keyring.decrypt({ ciphertext, purpose: 'dek' }, patience())).ok);
  writer.failing.all = 'unavailable';
  await clock.advance(MINUTE);
  return { setup, ciphertext };
}

describe('a Decrypt whose answer is in memory, with two providers of which one is silent,', () => {
  const roles: readonly Role[] = ['writer', 'other'];
  const cells = [false, true].flatMap((sameForm) =>
    roles.flatMap((silent) => roles.map((madeBy) => ({ sameForm, silent, madeBy }))),
  );
  for (const { sameForm, silent, madeBy } of cells) {
    const form = sameForm ? 'of one form' : 'of two forms';
    it(`is answered at once: ciphertexts ${form}, silent is the ${silent}, made by the ${madeBy}`, async () => {
      const setup = await withTwoProviders();
      const { keyring, clock, other } = setup;
      if (!sameForm) ofAnotherForm(other);
      const ciphertext = await sealed(setup[madeBy]);
      assert.ok((await keyring.decrypt({ ciphertext, purpose: 'dek' }, patience())).ok);
      const unknown = await sealed(setup[silent]);
      silence(setup[silent]);
      // What brings it to light: a look at the one that encrypts, a call to the other one.
      const caller = new AbortController();
      const call = keyring.decrypt({ ciphertext: unknown, purpose: 'dek' }, caller.signal);
      await clock.advance(3_000);
      caller.abort();
      await call;
      await clock.advance(MINUTE);
      assert.ok(await isAtOnce(setup, ciphertext));
      await keyring.stop();
      assert.equal(clock.pending, 0);
    });
  }

  it('is answered within half a second before that is known, and at once some seconds later', async () => {
    const { setup, ciphertext } = await cachedInOutage();
    const { keyring, clock, other } = setup;
    assert.equal(keyring.state().kind, 'outage');
    silence(other);
    const read = keyring.decrypt({ ciphertext, purpose: 'dek' }, patience());
    await clock.advance(500);
    assert.ok((await read).ok);
    await clock.advance(10_000);
    assert.ok(await isAtOnce(setup, ciphertext));
  });

  it('is asked of the one that is there, whose refusal counts', async () => {
    const { setup, ciphertext } = await cachedInOutage();
    const { keyring, other } = setup;
    const before = other.calls.decrypt;
    assert.ok(await isAtOnce(setup, ciphertext));
    assert.equal(other.calls.decrypt, before + 1);
    other.failing.decrypt = 'denied';
    assert.equal(await isAtOnce(setup, ciphertext), false);
    assert.equal(keyring.remembered()?.entries, 0);
  });

  it('is asked of it again when it is back', async () => {
    const setup = await withTwoProviders();
    const { keyring, clock, other } = setup;
    const ciphertext = await sealed(other);
    assert.ok((await keyring.decrypt({ ciphertext, purpose: 'dek' }, patience())).ok);
    Object.assign(other.failing, { all: 'unavailable' });
    const caller = new AbortController();
    const call = keyring.decrypt({ ciphertext, purpose: 'dek' }, caller.signal);
    await clock.advance(1_000);
    caller.abort();
    await call;
    delete other.failing.all;
    await clock.advance(2 * MINUTE);
    const before = other.calls.decrypt;
    assert.ok(await isAtOnce(setup, ciphertext));
    assert.equal(other.calls.decrypt, before + 1);
  });
});

describe('a Decrypt that is not in memory', () => {
  for (const silent of ['writer', 'other'] as const) {
    it(`is first asked of the provider that answers, once the ${silent} is known to be silent`, async () => {
      const setup = await withTwoProviders();
      const { keyring, clock } = setup;
      const there = silent === 'writer' ? 'other' : 'writer';
      const [probe, ciphertext] = [await sealed(setup[silent]), await sealed(setup[there])];
      setup[silent].failing.all = 'unavailable';
      const caller = new AbortController();
      const call = keyring.decrypt({ ciphertext: probe, purpose: 'dek' }, caller.signal);
      await clock.advance(3_000);
      caller.abort();
      await call;
      silence(setup[silent]);
      await clock.advance(MINUTE);
      assert.ok(await isAtOnce(setup, ciphertext));
    });
  }
});
