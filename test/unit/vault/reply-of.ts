/** Replies as the client reads them, made of a status and a body: nothing is classified by hand. */
import type { Result } from '../../../src/providers/errors.ts';
import {
  readReply,
  type VaultReply,
  type VaultRequest,
} from '../../../src/providers/vault/reply.ts';

/**
 * What a server's answer to a request is read as.
 *
 * @param body JSON, or nothing at all where undefined
 */
export function replyOf(
  request: Pick<VaultRequest, 'holds' | 'what'>,
  status: number,
  body: object | undefined,
  headers: Readonly<Record<string, string>> = {},
): Result<VaultReply> {
  const response = {
    status,
    text: body === undefined ? '' : JSON.stringify(body),
    contentType: headers['content-type'] ?? 'application/json',
    retryAfter: headers['retry-after'],
    location: headers['location'],
  };
  return readReply({ method: 'POST', path: 'x', ...request }, 'https://vault', response, 0);
}
