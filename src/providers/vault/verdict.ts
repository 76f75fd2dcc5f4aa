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

/** Whether Vault may have done what was asked, though what came does not say so. */
export function mayBeDone(result: Result<VaultReply>): boolean {
  return result.ok
    ? result.value.kind === 'refusal' && result.value.mayBeDone
    : mayHaveArrived(result);
}

/** What became of the token that a login asks for. */
export type Token = 'granted' | 'none' | 'maybe lost';

/** What the outcome of a login says of its token; a login with a second factor has granted none yet. */
export function tokenOf(result: Result<VaultReply>): Token {
  if (!result.ok) return isUnsent(result.error.cause) ? 'none' : 'maybe lost';
  const reply = result.value;
  if (reply.kind === 'refusal') return reply.mayBeDone ? 'maybe lost' : 'none';
  const { client_token } = reply.body['auth'] as Record<string, unknown>;
  return client_token === '' ? 'none' : 'granted';
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

/**
 * The same, but that it asks to wait as long as the servers do: for the first of them, and not at all
 * where one of them does not ask for it.
 *
 * @param all how many servers there are
 */
export function withWaitOf(
  results: readonly Result<VaultReply>[],
  all: number,
  result: Result<VaultReply>,
): Result<VaultReply> {
  const failure = failureIn(result);
  if (failure?.error.retryAfterMs === undefined) return result;
  const waits = results.flatMap((each) => failureIn(each)?.error.retryAfterMs ?? []);
  const retryAfterMs = waits.length < all ? undefined : Math.min(...waits);
  if (retryAfterMs === failure.error.retryAfterMs) return result;
  const { kind, message, cause } = failure.error;
  const now = fail(kind, message, {
    cause,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
  return result.ok && result.value.kind === 'refusal'
    ? succeed({ ...result.value, failure: now })
    : now;
}

function failureIn(result: Result<VaultReply>): Extract<Result<never>, { ok: false }> | undefined {
  return result.ok ? result.value.failure : result;
}
