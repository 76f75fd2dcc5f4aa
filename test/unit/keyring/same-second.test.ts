/**
 * What an Encrypt proves of the key that has made its ciphertext, and a key that was made in the same
 * second as the announced one: both are described alike, as Vault tells times in whole seconds.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HandedOver } from '../../../src/keyring/handed-over.ts';
import { healthOf } from '../../../src/keyring/health.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { knownKey } from '../../../src/keyring/state.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { fail, type ProviderErrorKind } from '../../../src/providers/errors.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';

const MINUTE = 60_000;
const CREATED = 1_000;
const SEED = Buffer.alloc(32, 7);
const PING = Buffer.from('ping');
const never = new AbortController().signal;

async function start(provider = createFakeProvider('fake', CREATED), remembered?: HandedOver) {
  const clock = createDrivenClock(1_000_000);
  const acknowledged = new Set<string>();
  const keyring = createKeyring({
    ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, remembered },
    cache: { maxEntries: 10, maxAgeMs: 60 * MINUTE },
    isAcknowledged: (keyId) => acknowledged.has(keyId),
    ...{ clock, log: silentLog },
  });
  keyring.start();
  await settle();
  const status = (): string => {
    const now = healthOf(keyring.state(), clock.now(), undefined);
    return now.ok
      ? `${now.value.healthz} ${now.value.keyId}`
      : `${now.error.kind} ${now.error.message}`;
  };
  const seed = async (): Promise<ProviderErrorKind | 'ok'> => {
    const caller = new AbortController();
    const asked = keyring.encrypt(SEED, 'seed', caller.signal);
    for (let step = 0; step < 29; step += 1) await clock.advance(100);
    caller.abort();
    const outcome = await asked;
    return outcome.ok ? 'ok' : outcome.error.kind;
  };
  return { provider, clock, keyring, acknowledged, status, seed };
}

describe('a seed whose', () => {
  type Part = 'plaintext' | 'fresh ciphertext' | 'proof of the announced key';
  type Row = readonly [ProviderErrorKind, Record<Part, ProviderErrorKind | 'ok'>];
  const same = (kind: ProviderErrorKind | 'ok'): Record<Part, ProviderErrorKind | 'ok'> => ({
    ...{ plaintext: kind, 'fresh ciphertext': kind, 'proof of the announced key': kind },
  });
  /** What the provider answers once, while all is well with it for a look, and what the caller gets. */
  const rows: readonly Row[] = [
    ['invalid', same('denied')],
    ['denied', same('denied')],
    ['unauthenticated', same('unauthenticated')],
    ['internal', same('internal')],
    ['overloaded', same('overloaded')],
    ['unavailable', same('ok')],
    ['throttled', same('ok')],
    ['behind', { ...same('ok'), 'proof of the announced key': 'denied' }],
  ];
  for (const [kind, expected] of rows)
    for (const [part, outcome] of Object.entries(expected))
      it(`${part} is answered with ${kind} is ${outcome === 'ok' ? 'encrypted at the next try' : `answered with ${outcome}`}`, async () => {
        const { provider, keyring, status, seed } = await start();
        const [before, proof] = [status(), keyring.sample()?.ciphertext ?? assert.fail()];
        const { encrypt, decrypt } = provider;
        let failures = 1;
        const once = (isPart: boolean) => isPart && failures-- > 0;
        if (part === 'plaintext')
          provider.encrypt = async (items, version, signal) =>
            once(true)
              ? items.map(() => fail(kind, 'once'))
              : await encrypt(items, version, signal);
        else
          provider.decrypt = async (items, signal) => {
            const results = await decrypt(items, signal);
            const isProof = (item: Uint8Array): boolean => Buffer.from(proof).equals(item);
            return items.map((item, i) =>
              once(isProof(item) === (part !== 'fresh ciphertext'))
                ? fail(kind, 'once')
                : (results[i] ?? assert.fail()),
            );
          };
        assert.equal(await seed(), outcome);
        assert.ok(failures < 1);
        assert.equal(status(), before, 'a look has found that all is well');
        await keyring.stop();
      });
});

describe('a key that was made again in the same second', () => {
  type Setup = Awaited<ReturnType<typeof start>>;
  /** What shows it, and whether the process has the key in its memory. */
  const signs: readonly (readonly [string, (setup: Setup) => Promise<Setup>])[] = [
    [
      'by the first Encrypt of a seed',
      async (setup) => {
        assert.equal(await setup.seed(), 'denied');
        return setup;
      },
    ],
    [
      'by the health check of KMS v1',
      async (setup) => {
        const made = await setup.keyring.encrypt(PING, 'ping', never);
        assert.ok(made.ok);
        const { ciphertext } = made.value;
        await setup.keyring.decrypt({ ciphertext, purpose: 'dek' }, never);
        await setup.clock.advance(1_000);
        return setup;
      },
    ],
    [
      'though nobody calls',
      async (setup) => {
        await setup.clock.advance(6 * MINUTE);
        return setup;
      },
    ],
    [
      'after an outage',
      async (setup) => {
        setup.provider.failing.all = 'unavailable';
        await setup.clock.advance(2 * MINUTE);
        delete setup.provider.failing.all;
        await setup.clock.advance(2_000);
        return setup;
      },
    ],
    [
      'by the process after this one',
      async ({ provider, keyring }) => {
        const key = knownKey(keyring.state()) ?? assert.fail();
        const sample = keyring.sample()?.ciphertext;
        await keyring.stop();
        const none = { sources: [], ciphertexts: [], awaySince: undefined, stopped: undefined };
        return await start(provider, { key, isConfigured: true, sample, ...none });
      },
    ],
  ];
  for (const [how, show] of signs) {
    const lost = async () => {
      const first = await start();
      const before = knownKey(first.keyring.state())?.keyId ?? assert.fail();
      assert.equal(await first.seed(), 'ok');
      const bringBack = first.provider.backup();
      first.provider.recreate(CREATED);
      return { ...(await show(first)), before, bringBack };
    };

    it(`is lost ${how}, and stays so`, async () => {
      const { keyring, clock, status, seed } = await lost();
      for (let i = 0; i < 5; i += 1) {
        assert.match(
          status(),
          /^denied .*is another key than fake:v1:.*Restart no kube-apiserver.*rotate the key, ack/,
        );
        assert.equal(await seed(), 'denied');
        await clock.advance(10 * MINUTE);
      }
      await keyring.stop();
    });

    it(`is not announced where its loss is acknowledged before it is rotated: seen ${how}`, async () => {
      const { provider, keyring, acknowledged, clock, before, status, seed } = await lost();
      acknowledged.add(before);
      await clock.advance(MINUTE);
      assert.match(status(), /^denied .*rotate the key/);
      provider.rotate(9_000);
      await clock.advance(2_000);
      assert.match(status(), /^ok fake:v2:/);
      assert.equal(await seed(), 'ok');
      await keyring.stop();
    });

    it(`is not announced where it is rotated before its loss is acknowledged: seen ${how}`, async () => {
      const { provider, keyring, acknowledged, clock, before, status } = await lost();
      provider.rotate(9_000);
      await clock.advance(MINUTE);
      assert.match(status(), /^denied .*is another key than fake:v1:/);
      acknowledged.add(before);
      await clock.advance(2_000);
      assert.match(status(), /^ok fake:v2:/);
      await keyring.stop();
    });

    it(`gives way to the announced one as soon as that is back: seen ${how}`, async () => {
      const { keyring, bringBack, clock, before, status, seed } = await lost();
      bringBack();
      await clock.advance(2_000);
      assert.equal(status(), `ok ${before}`);
      assert.equal(await seed(), 'ok');
      await keyring.stop();
    });
  }

  it('leaves in memory what the announced one has encrypted', async () => {
    const { provider, keyring, clock, status } = await start();
    const made = await keyring.encrypt(SEED, 'seed', never);
    assert.ok(made.ok);
    provider.recreate(CREATED);
    await clock.advance(20 * MINUTE);
    assert.match(status(), /^denied /);
    const { ciphertext } = made.value;
    const read = await keyring.decrypt({ ciphertext, purpose: 'seed' }, never);
    assert.ok(read.ok && SEED.equals(read.value));
    await keyring.stop();
  });

  it('is no loss where policy has ruled out what the announced version has encrypted', async () => {
    const { provider, keyring, clock, status, seed } = await start();
    provider.rotate(2_000);
    const { decrypt } = provider;
    provider.minDecryptionVersion = 2;
    provider.decrypt = async (items, signal) => {
      const results = await decrypt(items, signal);
      return items.map((item, i) =>
        provider.versionOf(item) === 1
          ? fail('denied', 'too old', { retired: true })
          : (results[i] ?? assert.fail()),
      );
    };
    await clock.advance(MINUTE);
    assert.match(status(), /^ok fake:v2:/);
    assert.equal(await seed(), 'ok');
    await keyring.stop();
  });
});

describe('a server that lags behind', () => {
  it('does not take the place of the announced key where its key is another one', async () => {
    const provider = createFakeProvider('fake', CREATED);
    const { keyring, clock, status } = await start(provider);
    provider.rotate(2_000);
    await clock.advance(31_000);
    assert.match(status(), /^ok fake:v2:/);
    provider.recreate(CREATED);
    provider.rotate(3_000);
    provider.pretendLatest = 1;
    await clock.advance(6 * MINUTE);
    assert.match(status(), /^denied .*has lost version 2/);
    await keyring.stop();
  });
});
