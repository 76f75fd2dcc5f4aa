/** What an answer, or that there was none, says of the server that was asked. */
import { fail, type Result, succeed } from '../errors.ts';
import { failureOf, type VaultReply, type VaultRequest } from './reply.ts';

/** Whether another server may do better: this one is away, sealed, behind, or in trouble. */
export function isElsewhere(
  request: VaultRequest,
  result: Result<VaultReply>,
  now: number,
): boolean {
  if (!result.ok) return result.error.kind === 'unavailable';
  // A standby that does not forward sends its clients to the active node.
  if (result.value.status === TEMPORARY_REDIRECT) return true;
  return failureOf(request, result.value, now)?.error.kind === 'unavailable';
}

/** Whether the server cannot serve at all, whatever is asked of it. */
export function isDown(result: Result<VaultReply>): boolean {
  if (!result.ok) return result.error.kind === 'unavailable';
  const { status, body } = result.value;
  return DOWN.includes(status) || (status === 500 && isWithoutActive(body['errors']));
}

/** Whether it says no, or nothing at all. */
export function refuses(result: Result<VaultReply>): boolean {
  return !result.ok || result.value.status >= 400;
}

const TEMPORARY_REDIRECT = 307;
const DOWN: readonly number[] = [TEMPORARY_REDIRECT, 472, 473, 501, 502, 503, 504];

/** A standby hears of a new active node some seconds late, and then says that there is none. */
function isWithoutActive(errors: unknown): boolean {
  return Array.isArray(errors) && errors.some((error) => /active cluster node/.test(String(error)));
}

/** Whether it wants to be left alone for a while. */
export function asksToWait(result: Result<VaultReply>): boolean {
  const wait = result.ok ? result.value.retryAfter : result.error.retryAfterMs;
  return wait !== undefined;
}

/** The same, but that nobody is asked to wait. */
export function withoutWait(result: Result<VaultReply>): Result<VaultReply> {
  if (!asksToWait(result)) return result;
  if (result.ok) return succeed({ ...result.value, retryAfter: undefined });
  const { kind, message, cause } = result.error;
  return fail(kind, message, { cause });
}
