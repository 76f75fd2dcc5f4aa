/** What kube-apiserver starts and stays alive by, beside thousands of calls that wait. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MOST_CALLS } from '../../../src/keyring/batcher.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { silentLog } from '../../../src/observe/log.ts';
import type { Result } from '../../../src/providers/errors.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';

const SEED = Buffer.alloc(32, 7);
const PING = Buffer.from('ping');
const never = new AbortController().signal;

/** A keyring whose provider works, but takes 500 ms for each decrypt, and so many that wait for it. */
async function crowded() {
  const provider = createFakeProvider();
  const clock = createDrivenClock(1_000_000);
  const keyring = createKeyring({
    ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, clock, log: silentLog },
  });
  keyring.start();
  await settle();
  const ping = await keyring.encrypt(PING, 'ping', never);
  const [old] = await provider.encrypt([SEED], 1, never);
  assert.ok(ping.ok && old?.ok);
  const { decrypt } = provider;
  provider.decrypt = async (items, signal) => {
    await new Promise<void>((resolve) => void clock.setTimer(500, resolve));
    return await decrypt(items, signal);
  };
  const caller = new AbortController();
  const waiting: Promise<Result<unknown>>[] = [];
  for (let i = 0; i < MOST_CALLS.ordinary; i += 1) {
    const ciphertext = Buffer.concat([old.value, Buffer.from(String(i))]);
    waiting.push(keyring.decrypt({ ciphertext, purpose: 'seed' }, caller.signal));
  }
  await settle();
  const refused = await keyring.decrypt({ ciphertext: old.value, purpose: 'seed' }, never);
  assert.ok(!refused.ok && refused.error.kind === 'overloaded');
  const end = async (): Promise<void> => {
    caller.abort();
    await Promise.all(waiting);
    const stopped = keyring.stop();
    await clock.advance(5_000);
    await stopped;
  };
  return { keyring, clock, end, ping: ping.value.ciphertext };
}

describe('while as many Decrypts wait as may', () => {
  const calls: readonly [
    string,
    (setup: Awaited<ReturnType<typeof crowded>>) => Promise<Result<unknown>>,
  ][] = [
    [
      'the seed of a kube-apiserver that starts is encrypted and verified',
      ({ keyring }) => keyring.encrypt(SEED, 'seed', never),
    ],
    ['a ping of KMS v1 is encrypted', ({ keyring }) => keyring.encrypt(PING, 'ping', never)],
    [
      'a ping of KMS v1 is decrypted',
      ({ keyring, ping }) => keyring.decrypt({ ciphertext: ping, purpose: 'dek' }, never),
    ],
    ['an object of KMS v1 is encrypted', ({ keyring }) => keyring.encrypt(SEED, 'dek', never)],
  ];
  for (const [what, call] of calls) {
    it(`${what} within two requests`, async () => {
      const setup = await crowded();
      const asked = call(setup);
      await setup.clock.advance(1_200);
      assert.equal((await asked).ok, true);
      await setup.end();
    });
  }
});
