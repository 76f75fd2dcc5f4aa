/** A key that nothing may be encrypted with, as one that does not authenticate. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { healthOf } from '../../../src/keyring/health.ts';
import { succeed } from '../../../src/providers/errors.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';
import { patience, sealed, startNode } from './outage-under-test.ts';

const WHY = 'key k has type rsa-2048: make another one';

function unfit(provider: FakeProvider): FakeProvider {
  const { describe: fit } = provider;
  provider.describe = async (signal) => {
    const described = await fit(signal);
    return described.ok ? succeed({ ...described.value, unfit: WHY }) : described;
  };
  return provider;
}

describe('a key that is not fit for encrypting', () => {
  it('is not announced, and nothing is encrypted with it; what it has encrypted decrypts', async () => {
    const clock = createDrivenClock(1_000_000);
    const writer = unfit(createFakeProvider());
    const ciphertext = await sealed(writer);
    const before = writer.calls.encrypt;
    const { keyring } = await startNode(writer, clock);
    const status = healthOf(keyring.state(), clock.now(), undefined);
    assert.ok(!status.ok);
    assert.deepEqual([status.error.kind, status.error.message], ['denied', WHY]);
    const encrypted = await keyring.encrypt(Buffer.alloc(32), 'dek', patience());
    assert.ok(!encrypted.ok && encrypted.error.message === WHY);
    assert.equal(writer.calls.encrypt, before);
    assert.ok((await keyring.decrypt({ ciphertext, purpose: 'dek' }, patience())).ok);
    await keyring.stop();
  });

  it('serves a provider that only decrypts', async () => {
    const clock = createDrivenClock(1_000_000);
    const [writer, other] = [createFakeProvider(), unfit(createFakeProvider('other', 5_000))];
    const ciphertext = await sealed(other);
    const { keyring } = await startNode(writer, clock, 10, [other]);
    assert.equal(keyring.state().kind, 'ready');
    assert.deepEqual(keyring.readerTroubles(), []);
    assert.ok((await keyring.decrypt({ ciphertext, purpose: 'dek' }, patience())).ok);
    await keyring.stop();
  });
});
