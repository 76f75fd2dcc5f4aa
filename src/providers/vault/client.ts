/** Requests in the name of the session: a token that is not accepted is replaced once. */
import { fail, type Result } from '../errors.ts';
import type { Addresses } from './addresses.ts';
import type { VaultReply, VaultRequest } from './reply.ts';
import type { Session } from './session.ts';

export type VaultClient = {
  /**
   * An answer of any status but 403. A 403 leads to one new login, shared by all callers, and one
   * more try, before it counts as `denied`.
   */
  request(request: Omit<VaultRequest, 'token'>, signal: AbortSignal): Promise<Result<VaultReply>>;
};

/** A client that asks for its token with every request. */
export function createVaultClient(
  addresses: Pick<Addresses, 'request'>,
  session: Session,
): VaultClient {
  return {
    async request(request, signal) {
      const token = await session.token(signal);
      if (!token.ok) return token;
      const first = await addresses.request({ ...request, token: token.value }, signal);
      if (!first.ok) return first;
      const refusal = first.value.failure;
      if (refusal?.error.kind !== 'unauthenticated') return first;
      const fresh = await session.replace(token.value, refusal.error, signal);
      if (!fresh.ok) return fresh;
      const second = await addresses.request({ ...request, token: fresh.value }, signal);
      if (!second.ok) return second;
      const accepted = second.value.failure?.error.kind !== 'unauthenticated';
      session.tried(fresh.value, accepted);
      if (accepted) return second;
      return fail(
        'denied',
        `${request.what}: Vault answered 403 to a fresh token too: the policy of this identity does not allow ${request.method === 'GET' ? 'read' : 'update'} on ${request.path}`,
      );
    },
  };
}
