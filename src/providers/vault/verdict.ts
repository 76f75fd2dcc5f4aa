/** What an outcome says of the server that was asked, and which of several outcomes is the best. */
import { fail, type Result, succeed } from '../errors.ts';
import { isUnsent } from './errors.ts';
import type { VaultReply } from './reply.ts';

/** Whether another server may do better: this one is away, sealed, behind, in trouble, or not Vault. */
export function isElsewhere(result: Result<VaultReply>): boolean {
  if (!result.ok) return mayBeServers(result.error.kind);
  return result.value.kind === 'refusal' && result.value.reach !== 'request';
}

/** Whether the server cannot serve at all, whatever is asked of it. */
export function isDown(result: Result<VaultReply>): boolean {
  if (!result.ok) return mayBeServers(result.error.kind);
  return result.value.kind === 'refusal' && result.value.reach === 'server';
}

/** No answer of Vault came; an error of our own input is the same everywhere. */
function mayBeServers(kind: string): boolean {
  return kind === 'unavailable' || kind === 'throttled';
}

/** Whether Vault may have done what was asked, without saying so. */
export function mayHaveArrived(result: Result<VaultReply>): boolean {
  return !result.ok && !isUnsent(result.error.cause);
}

/** Whether it says no, or nothing at all. */
export function refuses(result: Result<VaultReply>): boolean {
  return !result.ok || result.value.kind === 'refusal';
}

/**
 * The outcome that counts among those of several servers: an answer before a refusal of the request,
 * and that before a server's trouble, since a failure to get an answer takes none back; of equals the
 * last.
 */
export function bestOf(outcomes: readonly Result<VaultReply>[]): Result<VaultReply> | undefined {
  return outcomes.reduce<Result<VaultReply> | undefined>(
    (best, outcome) => (best !== undefined && rankOf(best) < rankOf(outcome) ? best : outcome),
    undefined,
  );
}

/** Lower is better. */
function rankOf(result: Result<VaultReply>): number {
  if (!result.ok) return mayBeServers(result.error.kind) ? 3 : 1;
  if (result.value.kind === 'answer') return 0;
  return result.value.reach === 'request' ? 1 : 2;
}

/** Whether it asks not to be asked again for a while. */
export function asksToWait(result: Result<VaultReply>): boolean {
  return failureIn(result)?.error.retryAfterMs !== undefined;
}

/** The same, but that nobody is asked to wait. */
export function withoutWait(result: Result<VaultReply>): Result<VaultReply> {
  const failure = failureIn(result);
  if (failure?.error.retryAfterMs === undefined) return result;
  const { kind, message, cause } = failure.error;
  const now = fail(kind, message, { cause });
  return result.ok && result.value.kind === 'refusal'
    ? succeed({ ...result.value, failure: now })
    : now;
}

function failureIn(result: Result<VaultReply>): Extract<Result<never>, { ok: false }> | undefined {
  return result.ok ? result.value.failure : result;
}
