/** Limits for work that takes no signal. */
import type { CallSignal } from './call-signal.ts';
import { type Clock, sleep } from './clock.ts';

/**
 * A limit is waited for in this many steps. A process that gets no processor for a while finds the timer and
 * the outcome of the work due at the same time, and the timer is served first: it ends one step, not the wait.
 */
const STEPS = 8;

/**
 * What the work gives, or what `late` gives (or throws) where that takes more than so many
 * milliseconds of the time in which this process runs. The work goes on, and its outcome is then ignored.
 */
export async function within<T>(
  clock: Clock,
  ms: number,
  work: Promise<T>,
  late: () => T,
): Promise<T> {
  const done = new AbortController();
  const limit = sleepInSteps(clock, ms, done.signal).then((elapsed) => (elapsed ? late() : work));
  try {
    return await Promise.race([work, limit]);
  } finally {
    done.abort();
  }
}

async function sleepInSteps(clock: Clock, ms: number, signal: CallSignal): Promise<boolean> {
  for (let step = 0; step < STEPS; step += 1)
    if (!(await sleep(clock, ms / STEPS, signal))) return false;
  return true;
}

/**
 * What the work gives, or what `left` gives once the signal aborts. A caller that can wait no longer
 * leaves, and what it waited for goes on for the others.
 */
export async function unlessAborted<T>(
  work: Promise<T>,
  signal: CallSignal,
  left: () => T,
): Promise<T> {
  const leaving = Promise.withResolvers<T>();
  const leave = (): void => leaving.resolve(left());
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  try {
    return await Promise.race([work, leaving.promise]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

/** Gives the work a signal that aborts after so many milliseconds, or with the lifetime before. */
export async function withLimit<T>(
  clock: Clock,
  ms: number,
  lifetime: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const abort = (): void => limit.abort();
  const timeout = clock.setTimer(ms, abort);
  lifetime?.addEventListener('abort', abort, { once: true });
  if (lifetime?.aborted) abort();
  try {
    return await work(limit.signal);
  } finally {
    timeout.cancel();
    lifetime?.removeEventListener('abort', abort);
  }
}
