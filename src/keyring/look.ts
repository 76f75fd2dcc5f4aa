/**
 * One look at the provider: what it says of the key, whether that can follow the announced one, and
 * whether it works. docs/decisions/0014-lost-keys.md
 */
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { KeyDescription, Provider } from '../providers/provider.ts';
import type { Clock } from '../system/clock.ts';
import type { HandedOver } from './handed-over.ts';
import type { KeyId } from './key-id.ts';
import { lostSentence, missingSentence, unreadSentence } from './lost-key.ts';
import { notifyOnResponse } from './notify-on-response.ts';
import {
  decryptSample,
  encryptSample,
  isOfAnotherKey,
  type Sample,
  selfTest,
  type Tested,
} from './self-test.ts';
import {
  type AnnouncedKey,
  announce,
  hasBeenReady,
  type Instead,
  isTransient,
  type KeyringState,
  knownKey,
  type Seen,
} from './state.ts';
import { succession } from './succession.ts';

/**
 * Each answer that a look waits for may take this long; beyond it the provider counts as unavailable. Not all
 * of them together: that would call away a provider of which each answer comes in time.
 */
const ANSWER_LIMIT_MS = 5_000;
/**
 * For so long the announced version may be missing before it counts as lost: a standby that lags
 * shows the same, and catches up within seconds.
 */
const LAG_MS = 30_000;

export type LookOptions = {
  readonly provider: Provider;
  readonly clock: Clock;
  /** Whether an operator has said that this announced key is lost, and another may take its place. */
  readonly isAcknowledged: (lost: KeyId) => boolean;
  /** What the process before this one has announced; it counts until this one has announced a key. */
  readonly earlier: HandedOver | undefined;
  /** What the announced key was tried out with last; undefined before the first time. */
  readonly sample: () => Sample | undefined;
  /** Decrypts with whichever provider can. */
  readonly reads: (ciphertext: Uint8Array, signal: AbortSignal) => Promise<Result<Uint8Array>>;
  /** Called when a key was tried out: with what, and how long both took, in milliseconds. */
  readonly triedOut: (sample: Sample, ms: number) => void;
};

/** What is tried out of a key that is announced already. */
export type Part = 'nothing' | 'encrypt' | 'decrypt' | 'all';

/** A sample, the key that has encrypted it, and in how many milliseconds. */
export type Made = { readonly sample: Sample; readonly keyId: KeyId; readonly ms: number };

export type Before = {
  readonly state: KeyringState;
  readonly tryOut: Part;
  /** What was encrypted last. */
  readonly made: Made | undefined;
  readonly missingSince: number | undefined;
  readonly now: number;
};

export type Look = {
  readonly seen: Seen;
  readonly missingSince: number | undefined;
  readonly made?: Made;
};

/**
 * One look: describes the key and, where it is not the one announced and working, tries it out. It
 * ends at its deadline also where the provider does not.
 */
export async function observe(
  provider: Provider,
  before: Before,
  options: LookOptions,
  lifetime: AbortSignal,
): Promise<Look> {
  const { clock } = options;
  const deadline = new AbortController();
  const { promise: late, resolve } = Promise.withResolvers<Look>();
  const { missingSince } = before;
  const abort = (): void => {
    deadline.abort();
    // After the turn in which the provider may say itself what it was waiting for.
    setImmediate(() =>
      resolve({ seen: fail('unavailable', `${provider.name}: no answer in time`), missingSince }),
    );
  };
  let timer = clock.setTimer(ANSWER_LIMIT_MS, abort);
  const answered = (): void => {
    if (deadline.signal.aborted) return;
    timer.cancel();
    timer = clock.setTimer(ANSWER_LIMIT_MS, abort);
  };
  lifetime.addEventListener('abort', abort, { once: true });
  try {
    const asked = notifyOnResponse(provider, answered);
    const looking = describeAndTry(asked, before, options, deadline.signal);
    return await Promise.race([looking, late]);
  } catch (error) {
    const message = `${provider.name} failed in a way that it never should`;
    return { seen: fail('internal', message, { cause: error }), missingSince };
  } finally {
    timer.cancel();
    lifetime.removeEventListener('abort', abort);
  }
}

async function describeAndTry(
  provider: Provider,
  { state, tryOut, made, missingSince, now }: Before,
  options: LookOptions,
  signal: AbortSignal,
): Promise<Look> {
  const { isAcknowledged, clock, triedOut } = options;
  const described = await provider.describe(signal);
  // What could not be asked neither confirms a loss nor ends the time that it takes.
  if (!described.ok) return { seen: described, missingSince };
  const { unfit } = described.value;
  if (unfit !== undefined) return { seen: fail('denied', unfit), missingSince };
  const seen = announce(described.value);
  const earlier = hasBeenReady(state) ? undefined : options.earlier;
  const known = knownKey(state) ?? earlier?.key;
  const how = known === undefined ? 'continues' : succession(known.description, described.value);
  const isKnown = known !== undefined && isAcknowledged(known.keyId);
  const proof = proofOf(options, earlier, described.value);
  if (known !== undefined && how === 'behind') {
    // Announcing the older version would let key_id come back: it is announced in no case.
    const tested = await selfTest(provider, known.version, proof, signal);
    if (tested.ok && tested.value.isSameKey)
      return { seen: succeed(known), missingSince: undefined };
    if (!tested.ok && !isOfAnotherKey(tested.error.kind)) return { seen: tested, missingSince };
    const since = missingSince ?? now;
    // The provider is there: nothing may be done as if it were away.
    const isLost = state.kind === 'lost' || earlier?.stopped === 'lost';
    return now - since < LAG_MS && !isLost
      ? { seen: fail('behind', missingSentence(known, seen)), missingSince: since }
      : { seen: lost(known, { key: seen, how }, isKnown), missingSince: since };
  }
  /** What another key is, unless it may take the place of the announced one. */
  const replaced = async (): Promise<Look | undefined> => {
    if (known === undefined) return undefined;
    const instead = { key: seen, how: 'replaced' } as const;
    // Two keys of one second have one key_id, which never stands for both: a rotation makes another.
    const isSameId = seen.keyId === known.keyId;
    if (isKnown && !isSameId) return undefined;
    const unread =
      earlier === undefined || isSameId
        ? lost(known, instead, isKnown)
        : await unreadBy(options, earlier, instead, signal);
    return unread && { seen: unread, missingSince: undefined };
  };
  const judged = async (tested: Result<Tested>, ms: number): Promise<Look> => {
    const another = tested.ok && !tested.value.isSameKey ? await replaced() : undefined;
    if (another !== undefined) return another;
    if (tested.ok) triedOut(tested.value.sample, ms);
    return { seen: tested.ok ? succeed(seen) : tested, missingSince: undefined };
  };
  if (how === 'replaced') {
    const same =
      earlier === undefined ? await hasMaterialOf(provider, proof, signal) : succeed(false);
    if (!same.ok) return { seen: same, missingSince };
    const another = same.value ? undefined : await replaced();
    if (another !== undefined) return another;
  }
  const isAnnounced = state.kind === 'ready' && state.key.keyId === seen.keyId;
  const part = isAnnounced ? tryOut : 'all';
  const { version } = seen;
  const began = clock.now();
  switch (part) {
    case 'nothing':
      return { seen: succeed(seen), missingSince: undefined };
    case 'encrypt': {
      const encrypted = await encryptSample(provider, version, signal);
      if (!encrypted.ok) return { seen: encrypted, missingSince: undefined };
      const next = { sample: encrypted.value, keyId: seen.keyId, ms: clock.now() - began };
      return { seen: succeed(seen), missingSince: undefined, made: next };
    }
    case 'decrypt': {
      if (made?.keyId !== seen.keyId) return { seen: succeed(seen), missingSince: undefined };
      const { sample, ms } = made;
      const tested = await decryptSample(provider, sample, proof, signal);
      // The announced key has made the sample, too, some looks ago.
      const isOther = !tested.ok && isOfAnotherKey(tested.error.kind);
      const outcome = isOther ? succeed({ sample, isSameKey: false }) : tested;
      return await judged(outcome, ms + clock.now() - began);
    }
    case 'all': {
      const ofAnnounced = how === 'continues' ? proof : undefined;
      const tested = await selfTest(provider, version, ofAnnounced, signal);
      return await judged(tested, clock.now() - began);
    }
  }
}

/**
 * What the announced key has encrypted: two keys that were made in one second are described alike. Not
 * where policy rules it out: that would be refused, and show nothing.
 */
function proofOf(
  { sample, provider }: LookOptions,
  earlier: HandedOver | undefined,
  { minDecryptionVersion }: KeyDescription,
): Uint8Array | undefined {
  const left = earlier?.isConfigured === true ? earlier.sample : undefined;
  const proof = sample()?.ciphertext ?? left;
  const version = proof && provider.versionOf(proof);
  return version === undefined || version < minDecryptionVersion ? undefined : proof;
}

/**
 * Whether a key with other times of creation decrypts what the announced one has encrypted: one that was
 * imported again from where its material is kept. Nothing is lost with it.
 */
async function hasMaterialOf(
  provider: Provider,
  proof: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<Result<boolean>> {
  if (proof === undefined) return succeed(false);
  const [read] = await provider.decrypt([proof], signal);
  if (read === undefined) return fail('internal', `${provider.name} answered no item to decrypt`);
  if (read.ok) {
    read.value.fill(0);
    return succeed(true);
  }
  const mayPass = isTransient(read.error.kind) && !isOfAnotherKey(read.error.kind);
  return mayPass ? read : succeed(false);
}

/**
 * Why another key may not take the place of the one that the process before has announced: what that
 * one has encrypted could not be read any more. Undefined where a provider that is configured reads it.
 */
async function unreadBy(
  { reads }: LookOptions,
  { key, isConfigured, sample, sources }: HandedOver,
  instead: Instead,
  signal: AbortSignal,
): Promise<Seen | undefined> {
  const proof = sample ?? sources[0];
  const read: Result<Uint8Array> =
    proof === undefined ? fail('invalid', 'no sample of it is known') : await reads(proof, signal);
  if (read.ok) {
    read.value.fill(0);
    return undefined;
  }
  const { kind, message } = read.error;
  const unreached = isTransient(kind) && kind !== 'behind';
  if (isConfigured && !unreached) return lost(key, instead, false);
  return fail(unreached ? 'unavailable' : 'denied', unreadSentence(key, message));
}

function lost(announced: AnnouncedKey, instead: Instead, isKnown: boolean): Seen {
  const { error } = fail('denied', lostSentence(announced, instead, isKnown));
  return { ok: false, error, loss: { key: announced, instead } };
}
