/** Requests that may leave something behind in Vault: given up by their callers, and never cut off. */
import { type Clock, sleep } from '../../system/clock.ts';
import { fail, type Result } from '../errors.ts';
import type { Leaves, VaultReply } from './reply.ts';

/**
 * What the request gives within the limit and before the signal aborts. Otherwise it is given up: it
 * goes on, and who made it is told where its outcome will come from.
 */
export async function notCutOff(
  request: { readonly what: string; readonly leaves: Leaves },
  sent: Promise<Result<VaultReply>>,
  limitMs: number,
  signal: AbortSignal,
  clock: Clock,
): Promise<Result<VaultReply>> {
  const done = new AbortController();
  const end = (): void => done.abort();
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  const givenUp = sleep(clock, limitMs, done.signal).then(() => undefined);
  const outcome = await Promise.race([sent, givenUp]);
  end();
  signal.removeEventListener('abort', end);
  if (outcome !== undefined) return outcome;
  request.leaves.givenUp(sent);
  return fail('unavailable', `${request.what}: no answer in time`);
}
