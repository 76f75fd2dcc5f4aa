/** Waiting for something that only polling can tell. */
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 50;

/**
 * Asks `holds` until it answers true, at most for `timeoutMs` and every `pollMs`; a rejection counts as
 * "not yet". Each question gets a signal that ends it with the whole wait; one that is not answered by then
 * is not waited for. Rejects with `what` and the last reason.
 */
export async function waitUntil(
  what: string,
  timeoutMs: number,
  holds: (signal: AbortSignal) => boolean | Promise<boolean>,
  pollMs = POLL_MS,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  const signal = AbortSignal.timeout(timeoutMs);
  let reason: unknown = 'it answered "not yet"';
  while (!signal.aborted) {
    try {
      const asked = (async () => await holds(signal))();
      if (await inTime('an answer', end - performance.now(), asked)) return;
    } catch (error) {
      reason = error;
    }
    await sleep(pollMs);
  }
  throw new Error(`${what}: not within ${timeoutMs} ms`, { cause: reason });
}

/** What `work` gives; rejects with `what` where that takes longer than `timeoutMs`, and ends nothing. */
export async function inTime<T>(what: string, timeoutMs: number, work: Promise<T>): Promise<T> {
  const limit = Promise.withResolvers<never>();
  const tooLate = (): void => limit.reject(new Error(`${what}: not within ${timeoutMs} ms`));
  const timer = setTimeout(tooLate, timeoutMs);
  try {
    return await Promise.race([work, limit.promise]);
  } finally {
    clearTimeout(timer);
  }
}
