/**
 * Keeps the keyring's state true in the background, so that Status never leaves the process: reads
 * the key now and then while all is well, often while it is not, and at once when a real call has
 * shown that something changed.
 */
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import { type Clock, sleep, type Timer } from '../system/clock.ts';
import type { HandedOver } from './handed-over.ts';
import type { KeyId } from './key-id.ts';
import { lostSentence, missingSentence, unreadSentence } from './lost-key.ts';
import { type Sample, selfTest } from './self-test.ts';
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
/** While something is wrong: first look again after this, then ever later up to the second. */
const RETRY_FIRST_MS = 100;
const RETRY_MOST_MS = 1_000;
/** However often real calls ask for a look, they are this far apart. */
const NUDGE_SPACING_MS = 250;
const JITTER = 0.1;
/** While all is well every so many looks the key is tried out too, not only read. */
const TRY_OUT_EVERY = 10;
/**
 * For so long the announced version may be missing before it counts as lost: a standby that lags
 * shows the same, and catches up within seconds.
 */
const LAG_MS = 30_000;

export type Watcher = {
  start(): void;
  stop(): void;
  /**
   * Looks at the provider soon, and tries the key out; resolves when a look that began after this
   * call has ended.
   */
  nudge(): Promise<void>;
};

export type WatcherOptions = {
  readonly provider: Provider;
  /** How often the key is read while all is well, in milliseconds. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly state: () => KeyringState;
  /** Until when the provider asked to be left alone, in milliseconds since the epoch. */
  readonly notBefore: () => number;
  /** Whether an operator has said that this announced key is lost, and another may take its place. */
  readonly isAcknowledged: (lost: KeyId) => boolean;
  /** Called before another key_id than the known one is reported, which waits for it; it never fails. */
  readonly announcing: (key: AnnouncedKey) => Promise<void>;
  /** What the process before this one has announced; it counts until this one has announced a key. */
  readonly earlier: HandedOver | undefined;
  /** Decrypts with whichever provider can. */
  readonly reads: (ciphertext: Uint8Array, signal: AbortSignal) => Promise<Result<Uint8Array>>;
  readonly report: (seen: Seen) => void;
  /** Called when a key was tried out: with what, and how long both took, in milliseconds. */
  readonly triedOut: (sample: Sample, ms: number) => void;
  /** Called after each report: how many looks in a row have failed, and when the next one begins. */
  readonly scheduled: (failures: number, nextInMs: number) => void;
  /** Called after every second good look, never next to one that tries the key out: room for a request. */
  readonly upkeep: () => void;
};

/** A watcher that has not started yet. */
export function createWatcher(options: WatcherOptions): Watcher {
  const { provider, clock } = options;
  const lifetime = new AbortController();
  let timer: Timer | undefined;
  let looking: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let lastLookAt = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let looks = 0;
  let nudged = false;
  /** Since when every look that was answered has missed the announced version. */
  let missingSince: number | undefined;

  const look = async (): Promise<void> => {
    timer?.cancel();
    lastLookAt = clock.now();
    looks += 1;
    const tryOut = nudged || looks % TRY_OUT_EVERY === 0;
    nudged = false;
    const looked = await observe(
      provider,
      { state: options.state(), tryOut, missingSince, now: clock.now() },
      options,
      lifetime.signal,
    );
    const { seen } = looked;
    missingSince = looked.missingSince;
    const known = knownKey(options.state());
    if (seen.ok && known !== undefined && known.keyId !== seen.value.keyId)
      await options.announcing(seen.value);
    if (lifetime.signal.aborted) return;
    options.report(seen);
    failures = seen.ok ? 0 : failures + 1;
    const asked = options.notBefore() - clock.now();
    const least = Math.max(seen.ok ? options.intervalMs : retryDelay(failures), asked);
    // Never earlier: not than the provider asked for, and not more often than was promised.
    const wait = least * (1 + JITTER * clock.random());
    timer = clock.setTimer(wait, () => void begin());
    options.scheduled(failures, wait);
    if (seen.ok && looks % 2 === 0 && looks % TRY_OUT_EVERY !== 0) options.upkeep();
  };

  const begin = (): Promise<void> => {
    looking ??= look().finally(() => {
      looking = undefined;
    });
    return looking;
  };

  const lookAgain = async (): Promise<void> => {
    // A look under way may have begun before what the caller saw: the next one counts.
    await looking;
    const wait = Math.max(lastLookAt + NUDGE_SPACING_MS, options.notBefore()) - clock.now();
    const alive = wait <= 0 || (await sleep(clock, wait, lifetime.signal));
    next = undefined;
    nudged = true;
    if (alive) await begin();
  };

  return {
    start: () => void begin(),
    stop(): void {
      lifetime.abort();
      timer?.cancel();
    },
    nudge(): Promise<void> {
      if (lifetime.signal.aborted) return Promise.resolve();
      next ??= lookAgain();
      return next;
    },
  };
}

function retryDelay(failures: number): number {
  return Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(failures - 1, 10));
}

type Before = {
  readonly state: KeyringState;
  /** Whether a key that is announced already is to be tried out again. */
  readonly tryOut: boolean;
  readonly missingSince: number | undefined;
  readonly now: number;
};

type Look = { readonly seen: Seen; readonly missingSince: number | undefined };

/**
 * One look: describes the key and, where it is not the one announced and working, tries it out. It
 * ends at its deadline also where the provider does not.
 */
async function observe(
  provider: Provider,
  before: Before,
  options: WatcherOptions,
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
  { state, tryOut, missingSince, now }: Before,
  options: WatcherOptions,
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
  if (isAnnounced && !tryOut) return { seen: succeed(seen), missingSince: undefined };
  const began = clock.now();
  const works = await selfTest(provider, seen.version, signal);
  if (works.ok) triedOut(works.value, clock.now() - began);
  return { seen: works.ok ? succeed(seen) : works, missingSince: undefined };
}

/**
 * Why another key may not take the place of the one that the process before has announced: what that
 * one has encrypted could not be read any more. Undefined where a provider that is configured reads it.
 */
async function unreadBy(
  { reads }: WatcherOptions,
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
