/** A key that is deleted and made again under its name: it has version 1 again, and encrypts as it is told. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';

const SEED = Buffer.alloc(32, 7);
const PING = Buffer.from('ping');
const never = new AbortController().signal;

async function madeAgain() {
  const provider = createFakeProvider();
  const clock = createDrivenClock(1_000_000);
  const keyring = createKeyring({
    ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, clock },
    log: silentLog,
  });
  keyring.start();
  await settle();
  assert.equal(keyring.state().kind, 'ready');
  provider.recreate(9_000);
  return { provider, clock, keyring };
}

describe('a key that was made again a moment ago', () => {
  for (const purpose of ['seed', 'sample'] as const) {
    it(`encrypts no ${purpose} under the key_id of the one before, and is noticed by it`, async () => {
      const { clock, keyring } = await madeAgain();
      const asked = keyring.encrypt(SEED, purpose, never);
      await clock.advance(1_000);
      const outcome = await asked;
      assert.ok(!outcome.ok && outcome.error.kind === 'denied');
      assert.match(outcome.error.message, /is another key than fake:v1:/);
      assert.equal(keyring.state().kind, 'lost');
      await keyring.stop();
    });
  }

  it('is noticed by the next health check of KMS v1, whose two requests stay two', async () => {
    const { provider, clock, keyring } = await madeAgain();
    const before = { ...provider.calls };
    const made = await keyring.encrypt(PING, 'ping', never);
    assert.ok(made.ok);
    const { ciphertext } = made.value;
    assert.ok((await keyring.decrypt({ ciphertext, purpose: 'dek' }, never)).ok);
    assert.deepEqual(provider.calls, {
      ...before,
      encrypt: before.encrypt + 1,
      decrypt: before.decrypt + 1,
    });
    await clock.advance(1_000);
    assert.equal(keyring.state().kind, 'lost');
    await keyring.stop();
  });
});
