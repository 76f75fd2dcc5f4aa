/** Calls that fail are counted and logged, whatever they fail of. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createFailures } from '../../../src/keyring/failures.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { createLog } from '../../../src/observe/log.ts';
import { fail, type ProviderErrorKind } from '../../../src/providers/errors.ts';
import { createCallController } from '../../../src/system/call-signal.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';

type Line = Readonly<Record<string, unknown>>;

function logged() {
  const lines: Line[] = [];
  const log = createLog({
    level: 'info',
    format: 'json',
    write: (line) => void lines.push(JSON.parse(line)),
  });
  return { log, calls: () => lines.filter(({ msg }) => msg === 'calls fail'), lines };
}

const KINDS: readonly ProviderErrorKind[] = [
  'unavailable',
  'throttled',
  'behind',
  'overloaded',
  'unauthenticated',
  'denied',
  'invalid',
  'internal',
];

describe('a Decrypt that fails', () => {
  for (const kind of KINDS) {
    it(`with ${kind} is logged with what its caller is told, and counted by reason and version`, async () => {
      const [clock, provider, log] = [createDrivenClock(1_000_000), createFakeProvider(), logged()];
      const failures = createFailures(log.log, clock);
      const keyring = createKeyring({
        ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, clock, failures },
        log: log.log,
      });
      keyring.start();
      await settle();
      const { decrypt } = provider;
      const broken = 'fake:v1:AAAA';
      provider.decrypt = async (items, signal) =>
        items.some((item) => Buffer.from(item).toString() === broken)
          ? items.map(() => fail(kind, `a reason of ${kind}`))
          : await decrypt(items, signal);
      const told: string[] = [];
      for (let i = 0; i < 5; i += 1) {
        const caller = new AbortController();
        const ciphertext = Buffer.from(broken);
        const asked = keyring.decrypt({ ciphertext, purpose: 'seed' }, caller.signal);
        await clock.advance(1_000);
        caller.abort();
        const outcome = await asked;
        assert.ok(!outcome.ok);
        told.push(outcome.error.message);
      }
      assert.deepEqual(failures.counts(), [
        { call: 'decrypt', reason: kind, keyVersion: '1', count: 5 },
      ]);
      const [line, ...more] = log.calls();
      assert.equal(more.length, 0);
      assert.equal(line?.['level'], 'warn');
      assert.equal(line?.['why'], told[0]);
      assert.deepEqual(
        [line?.['call'], line?.['reason'], line?.['keyVersion'], line?.['failed']],
        ['decrypt', kind, '1', 1],
      );
      await keyring.stop();
    });
  }

  it('is logged once a minute at most, with how many there were since the last line', async () => {
    const [clock, log] = [createDrivenClock(), logged()];
    const failures = createFailures(log.log, clock);
    const { error } = fail('denied', 'too old');
    for (let second = 0; second < 181; second += 1) {
      failures.saw('decrypt', error, 3);
      await clock.advance(1_000);
    }
    assert.deepEqual(
      log.calls().map(({ failed }) => failed),
      [1, 60, 60, 60],
    );
    assert.equal(failures.counts()[0]?.count, 181);
  });

  it('is counted apart by call, reason and version, with bounded labels', () => {
    const [clock, log] = [createDrivenClock(), logged()];
    const failures = createFailures(log.log, clock);
    for (let version = 1; version <= 10_000; version += 1)
      failures.saw('decrypt', fail('invalid', 'damaged').error, version);
    failures.saw('decrypt', fail('invalid', 'of no form').error, undefined);
    failures.saw('decrypt', fail('denied', 'too old').error, 1);
    failures.saw('encrypt', fail('denied', 'no policy').error, 1);
    const counts = failures.counts();
    assert.equal(counts.length, 16 + 1 + 3);
    assert.equal(log.calls().length, counts.length);
    const countOf = (keyVersion: string): number | undefined =>
      counts.find((one) => one.reason === 'invalid' && one.keyVersion === keyVersion)?.count;
    assert.deepEqual([countOf('1'), countOf('other'), countOf('none')], [1, 10_000 - 16, 1]);
  });
});

describe('a provider that is slow', () => {
  it('is said to be so before kube-apiserver is too impatient, and again at most every five minutes', async () => {
    const [clock, provider, log] = [createDrivenClock(1_000_000), createFakeProvider(), logged()];
    for (const method of ['encrypt', 'decrypt'] as const) {
      const fast = provider[method] as (...args: unknown[]) => Promise<unknown>;
      Object.assign(provider, {
        [method]: async (...args: unknown[]) => {
          await new Promise<void>((resolve) => void clock.setTimer(1_600, resolve));
          return await fast(...args);
        },
      });
    }
    const keyring = createKeyring({
      ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, clock },
      log: log.log,
    });
    keyring.start();
    await clock.advance(10 * 60_000);
    const slow = log.lines.filter(({ msg }) => msg === 'provider slow');
    assert.ok(slow.length >= 1 && slow.length <= 3, `${slow.length} lines`);
    assert.equal(slow[0]?.['milliseconds'], 3_200);
    assert.match(String(slow[0]?.['why']), /raise timeout of the kms provider/);

    const caller = new AbortController();
    const asked = keyring.encrypt(Buffer.alloc(32, 7), 'seed', caller.signal);
    await clock.advance(2_900);
    caller.abort();
    const outcome = await asked;
    assert.ok(!outcome.ok && outcome.error.kind === 'unavailable');
    assert.match(outcome.error.message, /^fake encrypted in 1600 ms, and the caller's deadline/);
    assert.match(outcome.error.message, /raise timeout of the kms provider/);
    const stopped = keyring.stop();
    await clock.advance(5_000);
    await stopped;
  });
});

describe('trouble that lasts', () => {
  const kinds = [
    ['unavailable', 'provider unavailable'],
    ['denied', 'provider refuses'],
  ] as const;
  for (const [kind, msg] of kinds) {
    it(`with ${kind} is logged again every few minutes, however its sentence counts`, async () => {
      const [clock, provider, log] = [createDrivenClock(1_000_000), createFakeProvider(), logged()];
      const keyring = createKeyring({
        ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, clock },
        log: log.log,
      });
      keyring.start();
      await settle();
      provider.failing.all = kind;
      for (let second = 0; second < 3_600; second += 1) {
        provider.says = `, the next try in ${3_600 - second} s`;
        await clock.advance(1_000);
      }
      const lines = log.lines.filter((line) => line['msg'] === msg);
      assert.ok(lines.length >= 11 && lines.length <= 13, `${lines.length} lines in an hour`);
      const last = lines.at(-1);
      for (const field of ['since', 'seconds', 'tries', 'nextTrySeconds', 'why'])
        assert.notEqual(last?.[field], undefined, field);
      await keyring.stop();
    });
  }

  it('before the provider was reached for the first time is logged again, too', async () => {
    const [clock, provider, log] = [createDrivenClock(1_000_000), createFakeProvider(), logged()];
    provider.failing.all = 'unavailable';
    const keyring = createKeyring({
      ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, clock },
      log: log.log,
    });
    keyring.start();
    await clock.advance(31 * 60_000);
    const lines = log.lines.filter(({ msg }) => msg === 'provider not reached yet');
    assert.ok(lines.length >= 6 && lines.length <= 8, `${lines.length} lines`);
    await keyring.stop();
  });
});

it('a call that its caller cancelled before its deadline is counted, and has not failed', async () => {
  for (const call of ['encrypt', 'decrypt'] as const) {
    const [clock, provider, log] = [createDrivenClock(1_000_000), createFakeProvider(), logged()];
    const failures = createFailures(log.log, clock);
    const keyring = createKeyring({
      ...{ writer: provider, readers: [provider], watchIntervalMs: 30_000, clock, failures },
      log: log.log,
    });
    keyring.start();
    await settle();
    const { signal, cancel } = createCallController();
    cancel();
    const outcome =
      call === 'encrypt'
        ? await keyring.encrypt(Buffer.alloc(32), 'dek', signal)
        : await keyring.decrypt({ ciphertext: Buffer.from('fake:1:x'), purpose: 'dek' }, signal);
    assert.equal(outcome.ok, false);
    assert.deepEqual([failures.cancelled(), failures.counts()], [1, []]);
    assert.deepEqual(log.calls(), []);
    await keyring.stop();
  }
});
