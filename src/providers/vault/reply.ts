/** A request to Vault and what came back of it, as plain data. Decides nothing about its meaning. */
import { fail, type Result, succeed } from '../errors.ts';
import { errorOf } from './errors.ts';

export type VaultRequest = {
  readonly method: 'GET' | 'POST';
  /** Without `/v1/`, e.g. `transit/encrypt/kubernetes`. */
  readonly path: string;
  readonly token?: string;
  /** What is sent as JSON; a string is JSON already. */
  readonly body?: object | string;
  /** The request in a few words, for the sentence of an error, e.g. `encrypting`. */
  readonly what: string;
  /** What must not be sent twice: the unwrapping of a token that works once. */
  readonly once?: boolean;
  /** How long it may take where another server can be asked, in milliseconds; else see pace.ts. */
  readonly failoverMs?: number;
  /** What may be asked of a second server while the first is slow. */
  readonly hedge?: boolean;
  /** What is asked of the server itself, not of a namespace on it. */
  readonly root?: boolean;
};

/** A whole answer, whatever its status is. */
export type VaultReply = {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly retryAfter: string | undefined;
};

/** The failure of an answer of 300 or more, as an error; undefined where it is none. */
export function failureOf(
  request: VaultRequest,
  reply: VaultReply,
  now: number,
): Extract<Result<never>, { ok: false }> | undefined {
  if (reply.status < 300) return undefined;
  const { errors } = reply.body;
  // Vault always says why in that form; what does not is a proxy or a load balancer in between.
  if (!Array.isArray(errors) && DEFINITIVE.includes(reply.status)) {
    return notVault(`${request.what}: something in between answered ${reply.status}, not Vault`);
  }
  const messages = Array.isArray(errors)
    ? errors.filter((e): e is string => typeof e === 'string')
    : [];
  return errorOf(request.what, reply.status, messages, reply.retryAfter, now);
}

const DEFINITIVE: readonly number[] = [400, 401, 403, 404, 405];

/** The body of an answer as an object, or in words why it is nothing that Vault sends. */
export function parseBody(text: string, contentType: string): Result<VaultReply['body']> {
  if (text === '') return succeed({});
  if (!contentType.startsWith('application/json')) {
    return notVault(
      `content type ${contentType.slice(0, 60) || 'missing'}; is there a proxy in between?`,
    );
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return notVault('what it sent is not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    return notVault('what it sent is no JSON object');
  }
  return succeed(parsed as VaultReply['body']);
}

function notVault(why: string): Extract<Result<never>, { ok: false }> {
  return fail('unavailable', why);
}
