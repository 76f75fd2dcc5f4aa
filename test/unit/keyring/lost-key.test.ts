/** A key that was announced and is gone: nothing new is written under it, and it stays visible. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { healthOf } from '../../../src/keyring/health.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { knownKey } from '../../../src/keyring/state.ts';
import { createLog } from '../../../src/observe/log.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

const MINUTE = 60_000;
const PLAIN = Buffer.alloc(32, 7);
const PING = Buffer.from('ping');
const never = new AbortController().signal;

async function setUp(provider = createFakeProvider(), cached = false) {
  const clock = createDrivenClock(1_000_000);
  const lines: Record<string, unknown>[] = [];
  const acknowledged = new Set<string>();
  const keyring = createKeyring({
    writer: provider,
    readers: [provider],
    watchIntervalMs: 30_000,
    ...(cached ? { cache: { maxEntries: 10, maxAgeMs: 60 * MINUTE } } : {}),
    isAcknowledged: (keyId) => acknowledged.has(keyId),
    clock,
    log: createLog({
      level: 'info',
      format: 'json',
      write: (line) => void lines.push(JSON.parse(line)),
    }),
  });
  keyring.start();
  await settle();
  const status = () => healthOf(keyring.state(), clock.now(), undefined);
  const announced = (): string => {
    const now = status();
    assert.ok(now.ok, now.ok ? '' : now.error.message);
    return now.value.keyId;
  };
  const refusal = (): string => {
    const now = status();
    assert.ok(!now.ok, 'Status is no error');
    assert.equal(now.error.kind, 'denied');
    return now.error.message;
  };
  const told = (msg: string) => lines.filter((line) => line['msg'] === msg);
  return { provider, clock, keyring, lines, acknowledged, status, announced, refusal, told };
}

/** Rotated once, and the keyring has announced version 2. */
async function rotated(cached = false) {
  const setup = await setUp(createFakeProvider(), cached);
  setup.provider.rotate(2_000);
  await setup.clock.advance(31_000);
  assert.match(setup.announced(), /^fake:v2:/);
  return setup;
}

const LOSSES: readonly [string, (provider: FakeProvider) => void, RegExp][] = [
  ['a backup older than the last rotation was restored', (p) => p.restore(1), /lost version 2/],
  ['it was deleted and made again', (p) => p.recreate(9_000), /is another key than fake:v2:/],
  [
    'it was deleted, made again and rotated as often',
    (p) => {
      p.recreate(9_000);
      p.rotate(9_500);
    },
    /is another key than fake:v2:/,
  ],
  [
    'an older backup was restored and the key rotated after it',
    (p) => {
      p.restore(1);
      p.rotate(9_500);
    },
    /is another key than fake:v2:/,
  ],
];

describe('an announced key', () => {
  for (const [what, lose, sentence] of LOSSES) {
    it(`is lost where ${what}: Status is an error that names the rescue, and stays one`, async () => {
      const setup = await rotated();
      const before = setup.announced();
      lose(setup.provider);
      await setup.clock.advance(2 * MINUTE);
      assert.match(setup.refusal(), sentence);
      assert.match(
        setup.refusal(),
        /Restart no kube-apiserver.*for a day at most.*write every Secret again .* by a change in each/,
      );
      await setup.clock.advance(60 * MINUTE);
      assert.match(setup.refusal(), sentence);
      assert.equal(knownKey(setup.keyring.state())?.keyId, before);
      assert.equal(setup.told('key announced').length, 2);
    });

    it(`is logged as lost where ${what}, again every few minutes, since when and how often it was tried`, async () => {
      const setup = await rotated();
      lose(setup.provider);
      await setup.clock.advance(62 * MINUTE);
      const lines = setup.told('announced key lost');
      assert.ok(lines.length >= 12 && lines.length <= 14, `${lines.length} lines in an hour`);
      const last = lines.at(-1);
      assert.equal(last?.['level'], 'error');
      assert.match(String(last?.['why']), sentence);
      assert.ok(Number(last?.['seconds']) > 3_000 && Number(last?.['tries']) > 1_000);
      assert.ok(Number(last?.['nextTrySeconds']) >= 1);
      assert.match(String(last?.['since']), /^1970-01-01T00:/);
    });

    it(`is announced again as soon as it is back where ${what}`, async () => {
      const setup = await rotated();
      const [before, copy] = [setup.announced(), setup.provider.backup()];
      lose(setup.provider);
      await setup.clock.advance(5 * MINUTE);
      setup.refusal();
      copy();
      await setup.clock.advance(2_000);
      assert.equal(setup.announced(), before);
    });
  }

  it('is not lost before it was missing for half a minute, however often it is looked for', async () => {
    const setup = await rotated();
    const before = setup.announced();
    const copy = setup.provider.backup();
    setup.provider.restore(1);
    await setup.clock.advance(31_000);
    for (let i = 0; i < 25; i += 1) {
      await setup.keyring.encrypt(PLAIN, 'seed', AbortSignal.abort());
      await setup.clock.advance(1_000);
      const now = setup.status();
      assert.ok(now.ok && now.value.keyId === before, `after ${i} s`);
      if (i > 3) assert.match(now.value.healthz, /a server that lags behind, or a backup older/);
    }
    copy();
    await setup.clock.advance(2_000);
    assert.deepEqual(setup.status(), { ok: true, value: { healthz: 'ok', keyId: before } });
  });

  it('keeps its key_id where a server that lags answers and the version still works', async () => {
    const setup = await rotated();
    const before = setup.announced();
    setup.provider.pretendLatest = 1;
    await setup.clock.advance(10 * MINUTE);
    assert.equal(setup.announced(), before);
  });
});

describe('an announced key that was imported again, from where its material is kept', () => {
  it('is announced with its new times, and everything is read', async () => {
    const setup = await rotated(true);
    const before = setup.announced();
    const made = await setup.keyring.encrypt(PLAIN, 'seed', never);
    assert.ok(made.ok);
    setup.provider.failing.all = 'denied';
    await setup.clock.advance(MINUTE);
    assert.match(setup.refusal(), /was told to fail/);
    delete setup.provider.failing.all;
    setup.provider.reimport(9_000);
    await setup.clock.advance(2_000);
    assert.notEqual(setup.announced(), before);
    const again = await setup.keyring.encrypt(PLAIN, 'seed', never);
    assert.ok(again.ok && again.value.keyId === setup.announced());
    for (const { ciphertext } of [made.value, again.value]) {
      const read = await setup.keyring.decrypt({ ciphertext, purpose: 'seed' }, never);
      assert.ok(read.ok);
      assert.deepEqual(Buffer.from(read.value), PLAIN);
    }
    assert.deepEqual(setup.told('announced key lost'), []);
  });

  it('is lost where the newest version was not imported, until it is', async () => {
    const setup = await rotated();
    const whole = setup.provider.backup();
    setup.provider.restore(1);
    setup.provider.reimport(9_000);
    await setup.clock.advance(2 * MINUTE);
    assert.match(setup.refusal(), /is another key than fake:v2:/);
    whole();
    setup.provider.reimport(9_000);
    await setup.clock.advance(2_000);
    assert.match(setup.announced(), /^fake:v2:/);
  });

  for (const [kind, state] of [
    ['unavailable', 'outage'],
    ['denied', 'lost'],
  ] as const)
    it(`is ${state === 'lost' ? 'lost' : 'neither lost nor announced'} while what it has encrypted is answered with ${kind}`, async () => {
      const setup = await rotated();
      const before = setup.announced();
      setup.provider.failing.decrypt = kind;
      setup.provider.reimport(9_000);
      await setup.clock.advance(2 * MINUTE);
      assert.equal(setup.keyring.state().kind, state);
      assert.equal(knownKey(setup.keyring.state())?.keyId, before);
      delete setup.provider.failing.decrypt;
      await setup.clock.advance(2_000);
      assert.notEqual(setup.announced(), before);
    });
});

describe('a lost key whose loss is acknowledged', () => {
  for (const [what, lose] of LOSSES.slice(1)) {
    it(`gives way to the new one where ${what}`, async () => {
      const setup = await rotated();
      const before = setup.announced();
      lose(setup.provider);
      await setup.clock.advance(MINUTE);
      setup.acknowledged.add('fake:v1:another');
      await setup.clock.advance(MINUTE);
      setup.refusal();
      setup.acknowledged.add(before);
      await setup.clock.advance(2_000);
      assert.notEqual(setup.announced(), before);
      const encrypted = await setup.keyring.encrypt(PLAIN, 'seed', never);
      assert.ok(encrypted.ok && encrypted.value.keyId === setup.announced());
    });
  }

  it('gives way to no earlier version, whose key_id would come back, but to the next rotation', async () => {
    const setup = await setUp();
    const first = setup.announced();
    setup.provider.rotate(2_000);
    await setup.clock.advance(31_000);
    const second = setup.announced();
    setup.acknowledged.add(second);
    setup.provider.restore(1);
    await setup.clock.advance(10 * MINUTE);
    assert.match(setup.refusal(), /rotate the key/);
    setup.provider.rotate(9_000);
    await setup.clock.advance(2_000);
    const third = setup.announced();
    assert.match(third, /^fake:v2:/);
    assert.equal(new Set([first, second, third]).size, 3);
  });
});

describe('a key in use whose loss is acknowledged', () => {
  const told = (setup: Awaited<ReturnType<typeof setUp>>) =>
    setup.told('the loss of the key in use is acknowledged');

  it('is warned of when it is back, since another one may take its place unnoticed', async () => {
    const setup = await rotated();
    const [second, copy] = [setup.announced(), setup.provider.backup()];
    setup.provider.restore(1);
    await setup.clock.advance(2 * MINUTE);
    setup.acknowledged.add(second);
    await setup.clock.advance(MINUTE);
    assert.deepEqual(told(setup), []);
    copy();
    await setup.clock.advance(2_000);
    assert.equal(setup.announced(), second);
    const [line, ...more] = told(setup);
    assert.deepEqual([line?.['level'], line?.['keyId'], more], ['warn', second, []]);
    assert.match(String(line?.['why']), /take it out/);
  });

  it('is not warned of where another one has taken its place', async () => {
    const setup = await rotated();
    setup.acknowledged.add(setup.announced());
    setup.provider.recreate(9_000);
    await setup.clock.advance(2 * MINUTE);
    assert.match(setup.announced(), /^fake:v1:/);
    assert.deepEqual(told(setup), []);
  });
});

describe('while the announced key is lost', () => {
  const calls = [
    ['seed', 'behind', 'denied'],
    ['seed', 'replaced', 'denied'],
    ['dek', 'behind', 1],
    ['dek', 'replaced', 'denied'],
    ['ping', 'behind', 1],
    ['ping', 'replaced', 1],
    ['sample', 'behind', 'denied'],
    ['sample', 'replaced', 'denied'],
  ] as const;
  for (const [purpose, how, expected] of calls) {
    const what = expected === 1 ? 'under the version that is there' : 'not at all';
    it(`a ${purpose} is encrypted ${what} where that is ${how === 'behind' ? 'an earlier one' : 'another key'}`, async () => {
      const setup = await rotated();
      if (how === 'behind') setup.provider.restore(1);
      else setup.provider.recreate(9_000);
      await setup.clock.advance(2 * MINUTE);
      setup.refusal();
      const asked = setup.keyring.encrypt(purpose === 'ping' ? PING : PLAIN, purpose, never);
      await setup.clock.advance(2_000);
      const outcome = await asked;
      assert.equal(outcome.ok ? outcome.value.version : outcome.error.kind, expected);
      if (!outcome.ok) assert.match(outcome.error.message, /Restart no kube-apiserver/);
    });
  }

  it('what it has encrypted is decrypted from the cache, which is not emptied', async () => {
    const setup = await rotated(true);
    const made = await setup.keyring.encrypt(PLAIN, 'seed', never);
    assert.ok(made.ok);
    setup.provider.restore(1);
    await setup.clock.advance(10 * MINUTE);
    setup.refusal();
    const { ciphertext, keyId } = made.value;
    const asked = setup.keyring.decrypt({ ciphertext, keyId, purpose: 'seed' }, never);
    await setup.clock.advance(1_000);
    const read = await asked;
    assert.ok(read.ok);
    assert.deepEqual(Buffer.from(read.value), PLAIN);
  });

  it('what it has encrypted and nobody remembers fails at once, and is read when it is back', async () => {
    const setup = await rotated();
    const made = await setup.keyring.encrypt(PLAIN, 'seed', never);
    assert.ok(made.ok);
    const { ciphertext } = made.value;
    const bringBack = setup.provider.backup();
    setup.provider.restore(1);
    await setup.clock.advance(10 * MINUTE);
    const read = await setup.keyring.decrypt({ ciphertext, purpose: 'seed' }, never);
    assert.ok(!read.ok && read.error.kind === 'behind');
    bringBack();
    await setup.clock.advance(2_000);
    assert.ok((await setup.keyring.decrypt({ ciphertext, purpose: 'seed' }, never)).ok);
  });

  it('other versions are decrypted as before, and cost the provider no more looks', async () => {
    const setup = await rotated();
    const [old] = await setup.provider.encrypt([PLAIN], 1, never);
    assert.ok(old?.ok);
    setup.provider.restore(1);
    await setup.clock.advance(5 * MINUTE);
    const looks = setup.provider.calls.describe;
    for (let i = 0; i < 60; i += 1) {
      const ciphertext = old.value;
      assert.ok((await setup.keyring.decrypt({ ciphertext, purpose: 'seed' }, never)).ok);
      await setup.clock.advance(1_000);
    }
    assert.ok(setup.provider.calls.describe - looks <= 61);
  });
});
