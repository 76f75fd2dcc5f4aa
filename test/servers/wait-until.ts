/** Waiting for something that only polling can tell. */
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 50;

/**
 * Asks `holds` until it answers true, at most for `timeoutMs` and every `pollMs`; a rejection counts as
 * "not yet". Each question gets a signal that ends it with the whole wait. Rejects with `what` and the
 * last reason.
 */
export async function waitUntil(
  what: string,
  timeoutMs: number,
  holds: (signal: AbortSignal) => boolean | Promise<boolean>,
  pollMs = POLL_MS,
): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs);
  let reason: unknown = 'it answered "not yet"';
  while (!signal.aborted) {
    try {
      if (await holds(signal)) return;
    } catch (error) {
      reason = error;
    }
    await sleep(pollMs);
  }
  throw new Error(`${what}: not within ${timeoutMs} ms`, { cause: reason });
}
