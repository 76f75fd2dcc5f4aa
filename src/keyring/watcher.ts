/**
 * Keeps the keyring's state true in the background, so that Status never leaves the process: reads
 * the key now and then while all is well, often while it is not, and at once when a real call has
 * shown that something changed.
 */
import { sleep, type Timer } from '../system/clock.ts';
import { type LookOptions, type Made, observe, type Part } from './look.ts';
import { type AnnouncedKey, type KeyringState, knownKey, type Seen } from './state.ts';

/** While something is wrong: first look again after this, then ever later up to the second. */
const RETRY_FIRST_MS = 100;
const RETRY_MOST_MS = 1_000;
/** However often real calls ask for a look, they are this far apart. */
const NUDGE_SPACING_MS = 250;
const JITTER = 0.1;
/**
 * While all is well a sample is encrypted at every second look, so that a policy without `encrypt` is seen
 * though nobody calls, and every so many looks the last one is decrypted. A look makes two requests at most.
 */
const DECRYPT_EVERY = 10;

export type Watcher = {
  start(): void;
  stop(): void;
  /**
   * Looks at the provider soon, and tries the key out; resolves when a look that began after this
   * call has ended.
   */
  nudge(): Promise<void>;
};

export type WatcherOptions = LookOptions & {
  /** How often the key is read while all is well, in milliseconds. */
  readonly intervalMs: number;
  readonly state: () => KeyringState;
  /** Until when the provider asked to be left alone, in milliseconds since the epoch. */
  readonly notBefore: () => number;
  /** Called before another key_id than the known one is reported, which waits for it; it never fails. */
  readonly announcing: (key: AnnouncedKey) => Promise<void>;
  readonly report: (seen: Seen) => void;
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
  let made: Made | undefined;
  /** Since when every look that was answered has missed the announced version. */
  let missingSince: number | undefined;

  const look = async (): Promise<void> => {
    timer?.cancel();
    lastLookAt = clock.now();
    looks += 1;
    const part = partOf(looks);
    const tryOut = nudged ? 'all' : part;
    nudged = false;
    const looked = await observe(
      provider,
      { state: options.state(), tryOut, made, missingSince, now: clock.now() },
      options,
      lifetime.signal,
    );
    const { seen } = looked;
    missingSince = looked.missingSince;
    made = looked.made ?? made;
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
    if (seen.ok && part === 'nothing') options.upkeep();
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

function partOf(looks: number): Part {
  if (looks % 2 === 1) return 'encrypt';
  return looks % DECRYPT_EVERY === 0 ? 'decrypt' : 'nothing';
}
