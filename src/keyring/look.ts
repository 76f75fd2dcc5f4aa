/**
 * One look at the provider: what it says of the key, whether that can follow the announced one, and
 * whether it works. docs/decisions/0014-lost-keys.md
 */
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import type { Clock } from '../system/clock.ts';
import type { HandedOver } from './handed-over.ts';
import type { KeyId } from './key-id.ts';
import { lostSentence, missingSentence, unreadSentence } from './lost-key.ts';
import { decryptSample, encryptSample, type Sample, selfTest } from './self-test.ts';
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

/** One look may take this long; beyond it the provider counts as unavailable. */
const PROBE_TIMEOUT_MS = 5_000;
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
  const timer = clock.setTimer(PROBE_TIMEOUT_MS, abort);
  lifetime.addEventListener('abort', abort, { once: true });
  try {
    const looking = describeAndTry(provider, before, options, deadline.signal);
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
  const seen = announce(described.value);
  const earlier = hasBeenReady(state) ? undefined : options.earlier;
  const known = knownKey(state) ?? earlier?.key;
  const how = known === undefined ? 'continues' : succession(known.description, described.value);
  const isKnown = known !== undefined && isAcknowledged(known.keyId);
  if (known !== undefined && how === 'behind') {
    // Announcing the older version would let key_id come back: it is announced in no case.
    const stillThere = await selfTest(provider, known.version, signal);
    if (stillThere.ok) return { seen: succeed(known), missingSince: undefined };
    const { kind } = stillThere.error;
    if (kind !== 'invalid' && kind !== 'behind') return { seen: stillThere, missingSince };
    const since = missingSince ?? now;
    // The provider is there: nothing may be done as if it were away.
    return now - since < LAG_MS && state.kind !== 'lost'
      ? { seen: fail('behind', missingSentence(known, seen)), missingSince: since }
      : { seen: lost(known, { key: seen, how }, isKnown), missingSince: since };
  }
  if (known !== undefined && how === 'replaced' && !isKnown) {
    const unread =
      earlier === undefined
        ? lost(known, { key: seen, how }, isKnown)
        : await unreadBy(options, earlier, { key: seen, how }, signal);
    if (unread !== undefined) return { seen: unread, missingSince: undefined };
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
      const works = await decryptSample(provider, made.sample, signal);
      if (works.ok) triedOut(made.sample, made.ms + clock.now() - began);
      return { seen: works.ok ? succeed(seen) : works, missingSince: undefined };
    }
    case 'all': {
      const works = await selfTest(provider, version, signal);
      if (works.ok) triedOut(works.value, clock.now() - began);
      return { seen: works.ok ? succeed(seen) : works, missingSince: undefined };
    }
  }
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
  return { ok: false, error, instead };
}
