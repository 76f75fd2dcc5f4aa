/** A process that starts with another provider than the one that the process before it has announced a key of. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { healthOf } from '../../../src/keyring/health.ts';
import { createKeyring } from '../../../src/keyring/keyring.ts';
import { knownKey } from '../../../src/keyring/state.ts';
import { silentLog } from '../../../src/observe/log.ts';
import { fail, succeed } from '../../../src/providers/errors.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

type Change = (
  earlier: FakeProvider,
  next: FakeProvider,
) => readonly [FakeProvider, FakeProvider[]];
type Row = {
  readonly what: string;
  readonly change: Change;
  /** Whether the configuration names the place of the announced key still, as with another Vault. */
  readonly isConfigured: boolean;
  readonly handedOver: boolean;
  readonly expected: RegExp;
  /** Where it goes on to, once the earlier provider is there. */
  readonly back?: RegExp;
};

/** The same name and mount at another server. */
const named = (next: FakeProvider, earlier: FakeProvider): FakeProvider => ({
  ...next,
  async describe(signal) {
    const [its, described] = [await next.describe(signal), await earlier.describe(signal)];
    return its.ok && described.ok
      ? succeed({ ...its.value, path: described.value.path })
      : fail('unavailable', 'not described');
  },
});
const away = (provider: FakeProvider): FakeProvider => {
  provider.failing.decrypt = 'unavailable';
  return provider;
};

const REFUSED =
  /^denied fake:v1:\w+ was announced before the last start, .*acknowledgedLosses: \["fake:v1:/;
const LOST = /^denied .*is another key than fake:v1:/;
const WAITS = /^unavailable .*acknowledgedLosses/;
const TAKEN = /^ok fake:v1:/;

const rows: readonly Row[] = [false, true].flatMap((isConfigured): Row[] => {
  const other = (next: FakeProvider, earlier: FakeProvider): FakeProvider =>
    isConfigured ? named(next, earlier) : next;
  const where = isConfigured ? 'of the same name at another server' : 'of another name';
  const refused = isConfigured ? LOST : REFUSED;
  const row = (what: string, change: Change, expected: RegExp, more: Partial<Row> = {}): Row => ({
    what: `a key ${where}, ${what}`,
    ...{ change, isConfigured, expected, handedOver: true, ...more },
  });
  return [
    row('and nothing else', (earlier, next) => [other(next, earlier), []], refused),
    row('beside the earlier one', (earlier, next) => [other(next, earlier), [earlier]], TAKEN),
    row(
      'beside the earlier one, which cannot decrypt just now',
      (earlier, next) => [other(next, earlier), [away(earlier)]],
      isConfigured ? /^not reached fake:v1:/ : WAITS,
      { back: TAKEN },
    ),
    row(
      'beside the earlier one, no sample of which is known',
      (earlier, next) => [other(next, earlier), [earlier]],
      refused,
      { handedOver: false },
    ),
  ];
});
const moved: Row = {
  what: 'the same key under another name',
  change: (earlier) => [earlier, []],
  ...{ isConfigured: false, handedOver: true, expected: TAKEN },
};

describe('a process that starts, after another one has announced a key, with', () => {
  for (const { what, change, isConfigured, handedOver, expected, back } of [...rows, moved]) {
    for (const acknowledged of [false, true]) {
      it(`${what}${acknowledged ? ', with the loss acknowledged' : ''}`, async () => {
        const clock = createDrivenClock(1_000_000);
        const [earlier, next] = [createFakeProvider('fake'), createFakeProvider('next', 7_000)];
        const common = { watchIntervalMs: 30_000, clock, log: silentLog };
        const before = createKeyring({ writer: earlier, readers: [earlier], ...common });
        before.start();
        await settle();
        const key = knownKey(before.state()) ?? assert.fail();
        const sample = handedOver ? before.sample()?.ciphertext : undefined;
        await before.stop();
        const [writer, others] = change(earlier, next);
        const keyring = createKeyring({
          ...{ writer, readers: [writer, ...others], ...common },
          isAcknowledged: (lost) => acknowledged && lost === key.keyId,
          remembered: {
            ...{
              key,
              isConfigured,
              sample,
              awaySince: undefined,
              stopped: undefined,
              sources: [],
              ciphertexts: [],
            },
          },
        });
        keyring.start();
        const status = (): string => {
          const now = healthOf(keyring.state(), clock.now(), undefined);
          if (!now.ok) return `${now.error.kind} ${now.error.message}`;
          return `${now.value.healthz === 'ok' ? 'ok' : 'not reached'} ${now.value.keyId}`;
        };
        await clock.advance(10_000);
        assert.match(status(), acknowledged ? TAKEN : expected);
        if (back !== undefined) {
          delete earlier.failing.decrypt;
          await clock.advance(2_000);
          assert.match(status(), back);
        }
        await keyring.stop();
      });
    }
  }
});
