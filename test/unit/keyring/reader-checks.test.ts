/** Providers that only decrypt, and that are found not to before a call needs them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readinessOf } from '../../../src/cli/readiness.ts';
import { healthOf } from '../../../src/keyring/health.ts';
import type { ReaderTrouble } from '../../../src/keyring/reader-checks.ts';
import type { ProviderErrorKind } from '../../../src/providers/errors.ts';
import { createDrivenClock, type DrivenClock } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';
import {
  HOUR,
  MINUTE,
  type Node,
  patience,
  sealed,
  startNode,
  withTwoProviders,
} from './outage-under-test.ts';

type Line = { readonly level: string; readonly msg: string; readonly provider?: string };

const linesOf = ({ lines }: Node): readonly Line[] =>
  lines.map((line) => JSON.parse(line) as Line).filter(({ provider }) => provider === 'other');

const isReady = ({ keyring }: Node, clock: DrivenClock): boolean =>
  readinessOf({
    ...{ state: keyring.state(), now: clock.now(), reload: undefined, reloadRequests: 0 },
    ...{ loaded: [], queued: 0, lost: undefined, failedCalls: [], cancelledCalls: 0 },
    connections: { open: 0, sessions: 0, calls: 0 },
    decryptCache: undefined,
    readers: keyring.readerTroubles(),
  }).ready;

async function nodeWith(kind: ProviderErrorKind | undefined) {
  const [writer, other] = [createFakeProvider('fake'), createFakeProvider('other', 5_000)];
  if (kind !== undefined) other.failing.mayDecrypt = kind;
  const clock = createDrivenClock(1_000_000);
  const node = await startNode(writer, clock, 10, [other]);
  return { ...node, writer, other, clock };
}

describe('a provider that only decrypts, at the start', () => {
  const rows: readonly (readonly [ProviderErrorKind, 'refused' | 'outage'])[] = [
    ['denied', 'refused'],
    ['unauthenticated', 'refused'],
    ['invalid', 'refused'],
    ['unavailable', 'outage'],
    ['throttled', 'outage'],
    ['internal', 'outage'],
  ];
  for (const [kind, state] of rows) {
    it(`answers ${kind}: the log and /readyz say so, Status does not, and its return is seen`, async () => {
      const node = await nodeWith(kind);
      const { keyring, other, clock } = node;
      assert.deepEqual(
        keyring.readerTroubles().map(({ provider, error }) => [provider, error.kind]),
        [['other', kind]],
      );
      assert.equal(isReady(node, clock), state === 'outage');
      assert.ok(healthOf(keyring.state(), clock.now(), undefined).ok);
      const [said] = linesOf(node);
      const expected =
        state === 'refused' ? ['error', 'provider refuses'] : ['warn', 'provider unavailable'];
      assert.deepEqual([said?.level, said?.msg], expected);

      delete other.failing.mayDecrypt;
      await clock.advance(MINUTE);
      assert.deepEqual(keyring.readerTroubles(), []);
      assert.ok(isReady(node, clock));
      assert.equal(linesOf(node).at(-1)?.msg, 'provider decrypts again');
      await keyring.stop();
      assert.equal(clock.pending, 0);
    });
  }

  it('does not answer: it counts as away after 5 s, and keeps no keyring from stopping', async () => {
    const writer = createFakeProvider('fake');
    const other = createFakeProvider('other', 5_000);
    const clock = createDrivenClock(1_000_000);
    other.mayDecrypt = () => new Promise(() => undefined);
    const node = await startNode(writer, clock, 10, [other]);
    await clock.advance(5_000);
    const troubles = (): readonly ReaderTrouble[] => node.keyring.readerTroubles();
    assert.equal(troubles()[0]?.error.kind, 'unavailable');
    await clock.advance(MINUTE);
    await node.keyring.stop();
    assert.equal(clock.pending, 0);
    assert.ok(!(await node.keyring.readerChecked('other')).ok);
  });
});

describe('a provider that only decrypts, as time passes,', () => {
  it('is asked once an hour while all is well, since its audit log has each as a failure', async () => {
    const { other, writer, clock } = await nodeWith(undefined);
    await clock.advance(24 * HOUR);
    assert.ok(other.calls.mayDecrypt >= 20 && other.calls.mayDecrypt <= 25);
    assert.equal(writer.calls.mayDecrypt, 0, 'the one that encrypts proves it with a sample');
  });

  it('is found to refuse within about an hour of the day when its policy loses a line', async () => {
    const node = await nodeWith(undefined);
    const { other, clock } = node;
    await clock.advance(HOUR);
    other.failing.mayDecrypt = 'denied';
    await clock.advance(1.2 * HOUR);
    assert.equal(isReady(node, clock), false);
  });

  it('is asked once a minute while it refuses, and the log has it every five minutes', async () => {
    const node = await nodeWith('denied');
    const { other, clock } = node;
    await clock.advance(HOUR);
    assert.ok(other.calls.mayDecrypt >= 50 && other.calls.mayDecrypt <= 61);
    const refusals = linesOf(node).filter(({ msg }) => msg === 'provider refuses');
    assert.ok(refusals.length >= 10 && refusals.length <= 13, `${refusals.length} lines`);
  });

  it('is asked soon after a call has met with trouble, and not for each call', async () => {
    const { keyring, other, clock } = await withTwoProviders();
    await clock.advance(MINUTE);
    const before = other.calls.mayDecrypt;
    Object.assign(other.failing, { decrypt: 'unavailable', mayDecrypt: 'unavailable' });
    const ciphertext = await sealed(other);
    for (let i = 0; i < 10; i += 1) {
      const caller = new AbortController();
      const asked = keyring.decrypt({ ciphertext, purpose: 'dek' }, caller.signal);
      await clock.advance(500);
      caller.abort();
      assert.equal((await asked).ok, false);
    }
    assert.equal(other.calls.mayDecrypt - before, 1);
    assert.equal(keyring.readerTroubles().length, 1);
    delete other.failing.decrypt;
    delete other.failing.mayDecrypt;
    const read = keyring.decrypt({ ciphertext, purpose: 'dek' }, patience());
    await clock.advance(6_000);
    assert.ok((await read).ok);
    assert.deepEqual(keyring.readerTroubles(), []);
  });

  it('has what was kept for an outage forgotten when it begins to refuse, and once', async () => {
    const { keyring, other, writer, clock } = await withTwoProviders();
    const ciphertext = await sealed(writer);
    const read = () => keyring.decrypt({ ciphertext, purpose: 'dek' }, patience());
    assert.ok((await read()).ok);
    other.failing.mayDecrypt = 'denied';
    await clock.advance(1.2 * HOUR);
    assert.equal(keyring.remembered()?.entries, 0);
    assert.ok((await read()).ok);
    await clock.advance(5 * MINUTE);
    assert.equal(keyring.remembered()?.entries, 1);
  });
});
