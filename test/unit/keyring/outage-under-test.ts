/** A keyring with a decrypt cache over a provider in memory that goes away and comes back. */
import assert from 'node:assert/strict';
import { createKeyring, type Keyring } from '../../../src/keyring/keyring.ts';
import type { Purpose } from '../../../src/keyring/purpose.ts';
import { knownKey } from '../../../src/keyring/state.ts';
import { createLog } from '../../../src/observe/log.ts';
import { fail, type ProviderErrorKind, type Result } from '../../../src/providers/errors.ts';
import { createDrivenClock, type DrivenClock, settle } from '../driven-clock.ts';
import { createFakeProvider, type FakeProvider } from '../fake-provider.ts';

export const bytes = (text: string): Buffer => Buffer.from(text);
export const patience = (): AbortSignal => new AbortController().signal;
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

export const SEED = bytes('an earlier seed of thirty-two by');
export const NEXT = bytes('0123456789abcdef0123456789abcdef');

export type Node = { readonly keyring: Keyring; readonly lines: string[] };
export type Setup = Node & {
  readonly provider: FakeProvider;
  readonly clock: DrivenClock;
  /** Of the seed that kube-apiserver got when it started, and under which key_id. */
  readonly ciphertext: Uint8Array;
  readonly keyId: string;
};

/** The plugin of one node. */
export async function startNode(
  provider: FakeProvider,
  clock: DrivenClock,
  maxEntries = 10,
  others: readonly FakeProvider[] = [],
): Promise<Node> {
  const lines: string[] = [];
  const keyring = createKeyring({
    writer: provider,
    readers: [provider, ...others],
    watchIntervalMs: 30_000,
    cache: { maxEntries, maxAgeMs: HOUR },
    clock,
    log: createLog({ level: 'debug', format: 'json', write: (line) => void lines.push(line) }),
  });
  keyring.start();
  await settle();
  return { keyring, lines };
}

export async function keyringUnderTest(maxEntries?: number): Promise<Setup> {
  const provider = createFakeProvider();
  const clock = createDrivenClock(1_000_000);
  const node = await startNode(provider, clock, maxEntries);
  const encrypted = await node.keyring.encrypt(SEED, 'seed', patience());
  assert.ok(encrypted.ok);
  const { ciphertext, keyId } = encrypted.value;
  return { ...node, provider, clock, ciphertext, keyId };
}

/** A node with a provider that encrypts and another one that only decrypts. */
export async function withTwoProviders(maxEntries?: number) {
  const [writer, other] = [createFakeProvider('fake'), createFakeProvider('other', 5_000)];
  const clock = createDrivenClock(1_000_000);
  const node = await startNode(writer, clock, maxEntries, [other]);
  return { ...node, writer, other, clock };
}

/** Away for half a minute at least. */
export async function goAway({ provider, clock, keyring }: Setup): Promise<void> {
  provider.failing.all = 'unavailable';
  await clock.advance(MINUTE);
  assert.equal(keyring.state().kind, 'outage');
}

export async function comeBack({ provider, clock, keyring }: Setup): Promise<void> {
  delete provider.failing.all;
  await clock.advance(2_000);
  assert.equal(keyring.state().kind, 'ready');
}

export type Outcome = 'ok' | ProviderErrorKind;
const outcomeOf = (result: Result<unknown>): Outcome => (result.ok ? 'ok' : result.error.kind);

/** What a call comes to whose caller waits for a second. */
export async function within(
  { clock }: Setup,
  ask: (signal: AbortSignal) => Promise<Result<unknown>>,
): Promise<Outcome> {
  const caller = new AbortController();
  const asked = ask(caller.signal);
  await clock.advance(1_000);
  caller.abort();
  return outcomeOf(await asked);
}

/** As kube-apiserver reads an object that was written under a key_id. */
export const reading = (
  setup: Setup,
  ciphertext = setup.ciphertext,
  keyId = setup.keyId,
): Promise<Outcome> =>
  within(setup, (signal) => setup.keyring.decrypt({ ciphertext, purpose: 'seed', keyId }, signal));
export const announcedBy = ({ keyring }: Node): string =>
  knownKey(keyring.state())?.keyId ?? assert.fail('no key is announced');
export const seeding = (setup: Setup, purpose: Purpose = 'seed'): Promise<Outcome> =>
  within(setup, (signal) => setup.keyring.encrypt(NEXT, purpose, signal));

/** What is left for an outage that begins now. */
export async function leftInAnOutage(setup: Setup): Promise<{ read: Outcome; seed: Outcome }> {
  await goAway(setup);
  return { read: await reading(setup), seed: await seeding(setup) };
}

export const ALL = { read: 'ok', seed: 'ok' };
export const NOTHING = { read: 'unavailable', seed: 'unavailable' };

/** Has the provider refuse one ciphertext, and no other; `retired` where its policy rules out the version. */
export function refuse(
  provider: FakeProvider,
  refused: Uint8Array,
  kind: ProviderErrorKind,
  more: { readonly retired?: true } = {},
): void {
  const { decrypt } = provider;
  Object.assign(provider, {
    decrypt: async (items: readonly Uint8Array[], signal: AbortSignal) => {
      const results = await decrypt(items, signal);
      return results.map((result, i) =>
        Buffer.from(items[i] ?? []).equals(refused)
          ? fail(kind, 'refused, this one', more)
          : result,
      );
    },
  });
}

export async function sealed(provider: FakeProvider, version = 1): Promise<Uint8Array> {
  const [result] = await provider.encrypt([SEED], version, patience());
  assert.ok(result?.ok);
  return result.value;
}
