/** Requests in the name of the session: a token that is not accepted is replaced once. */
import type { Result } from '../errors.ts';
import type { Addresses } from './addresses.ts';
import type { Denied } from './diagnosis.ts';
import type { VaultReply, VaultRequest } from './reply.ts';
import type { Session } from './session.ts';

export type VaultClient = {
  /**
   * A reply of Vault. One that denies the request leads to one more try, with another token where a
   * new login may help, before it counts as `denied`.
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
      const denied = deniedIn(request, first.value);
      if (denied === undefined) {
        if (tookToken(first.value)) session.accepted(token.value, request.path);
        return first;
      }
      const again = await session.replace(token.value, denied, signal);
      if (!again.ok) return again;
      const second = await addresses.request({ ...request, token: again.value }, signal);
      if (!second.ok) return second;
      const deniedAgain = deniedIn(request, second.value);
      if (deniedAgain !== undefined) return await session.denied(again.value, deniedAgain);
      if (tookToken(second.value)) session.accepted(again.value, request.path);
      return second;
    },
  };
}

function deniedIn(request: Omit<VaultRequest, 'token'>, reply: VaultReply): Denied | undefined {
  return reply.kind === 'refusal' && reply.failure.error.kind === 'unauthenticated'
    ? { request, refusal: reply }
    : undefined;
}

/** What Vault says of the request itself comes after it has taken the token and its policy. */
function tookToken(reply: VaultReply): boolean {
  return reply.kind === 'answer' || (reply.reach === 'request' && reply.status !== 429);
}
