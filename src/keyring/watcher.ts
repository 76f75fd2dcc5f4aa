/**
 * Keeps the keyring's state true in the background, so that Status never leaves the process: reads
 * the key now and then while all is well, often while it is not, and at once when a real call has
 * shown that something changed.
 */
import { fail, type Result, succeed } from '../providers/errors.ts';
import type { Provider } from '../providers/provider.ts';
import { type Clock, sleep, type Timer } from '../system/clock.ts';
import { selfTest } from './self-test.ts';
import {
  type AnnouncedKey,
  announce,
  isOlderView,
  isTransient,
  type KeyringState,
  knownKey,
} from './state.ts';

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
/** So many looks in a row must show an older view of the key before it is believed. */
const OLDER_VIEWS = 5;

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
  readonly report: (seen: Result<AnnouncedKey>) => void;
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
  let olderViews = 0;

  const look = async (): Promise<void> => {
    timer?.cancel();
    lastLookAt = clock.now();
    looks += 1;
    const tryOut = nudged || looks % TRY_OUT_EVERY === 0;
    nudged = false;
    const before: Before = { state: options.state(), tryOut, olderViews };
    const { seen, older } = await observe(provider, before, clock, lifetime.signal);
    olderViews = older ? olderViews + 1 : 0;
    if (lifetime.signal.aborted) return;
    options.report(seen);
    failures = seen.ok ? 0 : failures + 1;
    const asked = options.notBefore() - clock.now();
    const wait = Math.max(seen.ok ? options.intervalMs : retryDelay(failures), asked);
    // Never earlier: not than the provider asked for, and not more often than was promised.
    timer = clock.setTimer(wait * (1 + JITTER * clock.random()), () => void begin());
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
  /** How many looks before this one showed an older view of the key. */
  readonly olderViews: number;
};

type Look = { readonly seen: Result<AnnouncedKey>; readonly older: boolean };

/** One look: describes the key and, where it is not the one announced and working, tries it out. */
async function observe(
  provider: Provider,
  before: Before,
  clock: Clock,
  lifetime: AbortSignal,
): Promise<Look> {
  const deadline = new AbortController();
  const abort = (): void => deadline.abort();
  const timer = clock.setTimer(PROBE_TIMEOUT_MS, abort);
  lifetime.addEventListener('abort', abort, { once: true });
  try {
    return await describeAndTry(provider, before, deadline.signal);
  } catch (error) {
    const told = `${provider.name} failed in a way that it never should`;
    return { seen: fail('internal', told, { cause: error }), older: false };
  } finally {
    timer.cancel();
    lifetime.removeEventListener('abort', abort);
  }
}

async function describeAndTry(
  provider: Provider,
  { state, tryOut, olderViews }: Before,
  signal: AbortSignal,
): Promise<Look> {
  const described = await provider.describe(signal);
  if (!described.ok) return { seen: described, older: false };
  const seen = announce(described.value);
  const known = knownKey(state);
  const older = known !== undefined && isOlderView(described.value, known);
  if (older) {
    // Announcing the older version would let key_id flip back. Only where the newer one does not
    // work any more, look after look, has it really gone, as after a restore from a backup.
    const stillThere = await selfTest(provider, known.version, signal);
    if (stillThere.ok) return { seen: succeed(known), older };
    const { kind } = stillThere.error;
    // That the version is not known is what an older view of the key says.
    if (isTransient(kind) && kind !== 'behind') return { seen: stillThere, older };
    if (olderViews < OLDER_VIEWS) return { seen: fail('unavailable', BEHIND), older };
  }
  const isAnnounced = state.kind === 'ready' && state.key.keyId === seen.keyId;
  if (isAnnounced && !tryOut) return { seen: succeed(seen), older };
  const works = await selfTest(provider, seen.version, signal);
  return { seen: works.ok ? succeed(seen) : works, older };
}

const BEHIND =
  'the key has fewer versions than before: a standby that is behind, or a restored backup';
