import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { healthOf } from '../../../src/keyring/health.ts';
import { createKeyring, type Keyring } from '../../../src/keyring/keyring.ts';
import { silentLog } from '../../../src/observe/log.ts';
import type { Result } from '../../../src/providers/errors.ts';
import { createDrivenClock, type DrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

type Setup = { keyring: Keyring; provider: FakeProvider; clock: DrivenClock };

async function setUp(failing: FakeProvider['failing'] = {}): Promise<Setup> {
  const provider = createFakeProvider();
  Object.assign(provider.failing, failing);
  const clock = createDrivenClock(1_000_000);
  const keyring = createKeyring({
    writer: provider,
    readers: [provider],
    watchIntervalMs: 30_000,
    clock,
    log: silentLog,
  });
  keyring.start();
  await settle();
  return { keyring, provider, clock };
}

const PLAIN = Buffer.from('0123456789abcdef0123456789abcdef');
const never = new AbortController().signal;

function value<T>(result: Result<T>): T {
  assert.ok(result.ok, result.ok ? '' : `${result.error.kind}: ${result.error.message}`);
  return result.value;
}

function kindOf(result: Result<unknown>): string {
  return result.ok ? 'ok' : result.error.kind;
}

function status(
  { keyring, clock }: Setup,
  graceMs?: number,
): Result<{ healthz: string; keyId: string }> {
  return healthOf(keyring.state(), clock.now(), graceMs);
}

describe('a keyring that is ready', () => {
  it('answers Encrypt with the key_id that Status announces', async () => {
    const setup = await setUp();
    const encrypted = value(await setup.keyring.encrypt(PLAIN, 'seed', never));
    const announced = value(status(setup));
    assert.equal(announced.healthz, 'ok');
    assert.equal(encrypted.keyId, announced.keyId);
    assert.deepEqual(
      value(
        await setup.keyring.decrypt({ ciphertext: encrypted.ciphertext, purpose: 'seed' }, never),
      ),
      PLAIN,
    );
  });

  it('keeps the announced version until it has looked again, and then follows a rotation', async () => {
    const setup = await setUp();
    const before = value(status(setup)).keyId;
    setup.provider.rotate(2_000);
    assert.equal(value(await setup.keyring.encrypt(PLAIN, 'dek', never)).version, 1);
    await setup.clock.advance(30_000);
    assert.notEqual(value(status(setup)).keyId, before);
    assert.equal(value(await setup.keyring.encrypt(PLAIN, 'dek', never)).version, 2);
  });

  it('looks at once when it decrypts a ciphertext of a newer version than it knows', async () => {
    const setup = await setUp();
    setup.provider.rotate(2_000);
    const [newer] = await setup.provider.encrypt([PLAIN], 2, never);
    assert.ok(newer);
    value(await setup.keyring.decrypt({ ciphertext: value(newer), purpose: 'seed' }, never));
    await setup.clock.advance(300);
    assert.match(value(status(setup)).keyId, /^fake:v2:/);
  });

  it('never lets key_id flip back when a standby shows an older view of the key', async () => {
    const setup = await setUp();
    setup.provider.rotate(2_000);
    await setup.clock.advance(30_000);
    const announced = value(status(setup)).keyId;
    setup.provider.pretendLatest = 1;
    await setup.clock.advance(30_000);
    assert.equal(value(status(setup)).keyId, announced);
  });

  it('refuses a fresh ciphertext that does not decrypt to what was given', async () => {
    const setup = await setUp();
    const other = value(
      (await setup.provider.encrypt([Buffer.alloc(32)], 1, never))[0] ?? assert.fail(),
    );
    setup.provider.tamper = () => other;
    const encrypting = setup.keyring.encrypt(PLAIN, 'seed', never);
    await setup.clock.advance(1_000);
    assert.equal(kindOf(await encrypting), 'internal');
  });

  it('asks nobody about bytes that no provider writes', async () => {
    const setup = await setUp();
    const before = { ...setup.provider.calls };
    assert.equal(
      kindOf(
        await setup.keyring.decrypt({ ciphertext: Buffer.from('k8s:enc'), purpose: 'seed' }, never),
      ),
      'invalid',
    );
    assert.deepEqual(setup.provider.calls, before);
  });

  it('reads the key at most twice a minute while nothing happens', async () => {
    const setup = await setUp();
    const before = setup.provider.calls.describe;
    await setup.clock.advance(60_000);
    assert.ok(setup.provider.calls.describe - before <= 2);
  });
});

describe('a keyring whose provider has not been reached', () => {
  it('says so in Status, and lets Encrypt wait until the provider is there', async () => {
    const setup = await setUp({ all: 'unavailable' });
    assert.equal(kindOf(status(setup)), 'unavailable');
    const encrypting = setup.keyring.encrypt(PLAIN, 'seed', never);
    await setup.clock.advance(1_500);
    delete setup.provider.failing.all;
    await setup.clock.advance(1_500);
    assert.equal(value(await encrypting).keyId, value(status(setup)).keyId);
  });

  it('answers unavailable when the caller can wait no longer', async () => {
    const setup = await setUp({ all: 'unavailable' });
    const caller = new AbortController();
    const encrypting = setup.keyring.encrypt(PLAIN, 'seed', caller.signal);
    const decrypting = setup.keyring.decrypt(
      { ciphertext: Buffer.from('fake:v1:AAAA'), purpose: 'seed' },
      caller.signal,
    );
    await setup.clock.advance(3_000);
    caller.abort();
    assert.equal(kindOf(await encrypting), 'unavailable');
    assert.equal(kindOf(await decrypting), 'unavailable');
  });

  it('announces no key that cannot decrypt what it encrypts', async () => {
    const setup = await setUp({ decrypt: 'denied' });
    assert.equal(kindOf(status(setup)), 'denied');
    assert.equal(kindOf(await setup.keyring.encrypt(PLAIN, 'dek', never)), 'denied');
  });
});

describe('a keyring in an outage', () => {
  it('keeps the key_id, says since when, and is ok within 2 s of the end', async () => {
    const setup = await setUp();
    const announced = value(status(setup)).keyId;
    setup.provider.failing.all = 'unavailable';
    await setup.clock.advance(40_000);
    const during = value(status(setup));
    assert.equal(during.keyId, announced);
    assert.match(during.healthz, /^provider unavailable for \d+ s: /);
    delete setup.provider.failing.all;
    await setup.clock.advance(2_000);
    assert.deepEqual(value(status(setup)), { healthz: 'ok', keyId: announced });
  });

  it('is noticed by a real call long before the next look is due', async () => {
    const setup = await setUp();
    setup.provider.failing.all = 'unavailable';
    const caller = new AbortController();
    const decrypting = setup.keyring.decrypt(
      { ciphertext: Buffer.from('fake:v1:AAAA'), purpose: 'seed' },
      caller.signal,
    );
    await setup.clock.advance(1_000);
    assert.equal(setup.keyring.state().kind, 'outage');
    caller.abort();
    await decrypting;
  });

  it('becomes an error after outageGrace, and not before', async () => {
    const setup = await setUp();
    setup.provider.failing.all = 'unavailable';
    await setup.clock.advance(40_000);
    assert.equal(kindOf(status(setup, 60_000)), 'ok');
    await setup.clock.advance(60_000);
    assert.equal(kindOf(status(setup, 60_000)), 'unavailable');
    assert.equal(kindOf(status(setup)), 'ok');
  });

  it('finishes a waiting call as soon as the provider is back', async () => {
    const setup = await setUp();
    const encrypted = value(await setup.keyring.encrypt(PLAIN, 'dek', never));
    setup.provider.failing.all = 'unavailable';
    const decrypting = setup.keyring.decrypt(
      { ciphertext: encrypted.ciphertext, purpose: 'seed' },
      never,
    );
    await setup.clock.advance(2_000);
    delete setup.provider.failing.all;
    await setup.clock.advance(1_000);
    assert.deepEqual(value(await decrypting), PLAIN);
  });
});

describe('a keyring whose provider refuses', () => {
  it('makes Status an error, and is ok within 2 s of being allowed again', async () => {
    const setup = await setUp();
    setup.provider.failing.all = 'denied';
    await setup.clock.advance(30_000);
    assert.equal(kindOf(status(setup)), 'denied');
    delete setup.provider.failing.all;
    await setup.clock.advance(2_000);
    assert.equal(value(status(setup)).healthz, 'ok');
  });

  it('stays refused while the provider cannot be reached', async () => {
    const setup = await setUp();
    setup.provider.failing.all = 'denied';
    await setup.clock.advance(30_000);
    setup.provider.failing.all = 'unavailable';
    await setup.clock.advance(10_000);
    assert.equal(kindOf(status(setup)), 'denied');
  });

  it('stays ready when only one ciphertext is refused', async () => {
    const setup = await setUp();
    setup.provider.failing.decrypt = 'invalid';
    assert.equal(
      kindOf(
        await setup.keyring.decrypt(
          { ciphertext: Buffer.from('fake:v1:AAAA'), purpose: 'seed' },
          never,
        ),
      ),
      'invalid',
    );
    await setup.clock.advance(5_000);
    assert.equal(value(status(setup)).healthz, 'ok');
  });
});

describe('a keyring whose key can be read, but not used', () => {
  for (const [operation, minutes] of [
    ['encrypt', 1.2],
    ['decrypt', 5.6],
  ] as const) {
    it(`says so in Status within ${minutes} minutes where ${operation} is denied and nobody calls`, async () => {
      const setup = await setUp();
      await setup.clock.advance(10_000);
      setup.provider.failing[operation] = 'denied';
      await setup.clock.advance(minutes * 60_000);
      assert.equal(kindOf(status(setup)), 'denied');
      delete setup.provider.failing[operation];
      await setup.clock.advance(2_000);
      assert.equal(value(status(setup)).healthz, 'ok');
    });
  }

  for (const operation of ['encrypt', 'decrypt'] as const) {
    it(`says so in Status as soon as a call has shown that ${operation} is denied`, async () => {
      const setup = await setUp();
      const { ciphertext } = value(await setup.keyring.encrypt(PLAIN, 'dek', never));
      setup.provider.failing[operation] = 'denied';
      const call =
        operation === 'encrypt'
          ? setup.keyring.encrypt(PLAIN, 'dek', never)
          : setup.keyring.decrypt({ ciphertext: ciphertext, purpose: 'seed' }, never);
      await setup.clock.advance(1_000);
      assert.equal(kindOf(await call), 'denied');
      assert.equal(kindOf(status(setup)), 'denied');
      delete setup.provider.failing[operation];
      await setup.clock.advance(2_000);
      assert.equal(value(status(setup)).healthz, 'ok');
    });
  }

  it('says so within ten looks where nobody calls', async () => {
    const setup = await setUp();
    setup.provider.failing.decrypt = 'denied';
    await setup.clock.advance(300_000);
    assert.equal(kindOf(status(setup)), 'denied');
  });
});

describe('a standby that is behind for a moment', () => {
  it('does not flip key_id back', async () => {
    const setup = await setUp();
    setup.provider.rotate(2_000);
    await setup.clock.advance(31_000);
    const announced = value(status(setup)).keyId;
    assert.match(announced, /:v2:/);
    setup.provider.pretendLatest = 1;
    setup.provider.failing.encrypt = 'invalid';
    await setup.clock.advance(31_000);
    assert.equal(value(status(setup)).keyId, announced);
    delete setup.provider.failing.encrypt;
    setup.provider.pretendLatest = undefined;
    await setup.clock.advance(2_000);
    assert.deepEqual(value(status(setup)), { healthz: 'ok', keyId: announced });
  });
});

describe('several providers that decrypt', () => {
  it('are asked in order, and one that cannot be reached is not taken for a refusal', async () => {
    const clock = createDrivenClock();
    const a = createFakeProvider('a');
    const b = createFakeProvider('b', 5_000);
    const keyring = createKeyring({
      writer: a,
      readers: [a, b],
      watchIntervalMs: 30_000,
      clock,
      log: silentLog,
    });
    keyring.start();
    await settle();
    const ofB = value((await b.encrypt([PLAIN], 1, never))[0] ?? assert.fail());
    assert.deepEqual(
      value(await keyring.decrypt({ ciphertext: ofB, purpose: 'seed' }, never)),
      PLAIN,
    );
    b.failing.all = 'unavailable';
    const caller = new AbortController();
    const decrypting = keyring.decrypt({ ciphertext: ofB, purpose: 'seed' }, caller.signal);
    await clock.advance(1_000);
    caller.abort();
    assert.equal(kindOf(await decrypting), 'unavailable');
  });
});

describe('a keyring that was stopped', () => {
  it('leaves no timer behind', async () => {
    const setup = await setUp();
    await setup.keyring.stop();
    assert.equal(setup.clock.pending, 0);
  });
});
