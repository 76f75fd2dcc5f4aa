/**
 * A request to Vault, and what came back of it. Each reply is classified here, once, where its bytes
 * are read: everything behind decides from the class.
 */
import { fail, type Result, succeed } from '../errors.ts';
import {
  explained,
  type Failure,
  quote,
  type Reach,
  refusalOf,
  retryAfterMs,
  unsent,
} from './errors.ts';

export type VaultRequest = {
  readonly method: 'GET' | 'POST';
  /** Without `/v1/`, e.g. `transit/encrypt/kubernetes`. */
  readonly path: string;
  readonly token?: string;
  /** What is sent as JSON; a string is JSON already. */
  readonly body?: object | string;
  /** The request in a few words, for the sentence of an error, e.g. `encrypting`. */
  readonly what: string;
  /** What an answer of Vault holds; whatever does not hold it comes from something in between. */
  readonly holds: Content;
  /** What must not be sent twice: the unwrapping of a token that works once. */
  readonly once?: boolean;
  /** What may leave something behind in Vault, as a login leaves a token. */
  readonly leaves?: Leaves;
  /**
   * What no cache on the way may answer: Vault Agent and Vault Proxy answer a login or a renewal that they
   * have seen before with the same token again, also where Vault has revoked it meanwhile.
   */
  readonly uncached?: boolean;
  /** How long it may take where another server can be asked, in milliseconds; else see pace.ts. */
  readonly failoverMs?: number;
  /** What may be asked of a second server while the first is slow. */
  readonly hedge?: boolean;
  /** What is asked of the server itself, not of a namespace on it. */
  readonly root?: boolean;
  /** Ask the other servers only: the one in use is behind them, maybe. */
  readonly elsewhere?: boolean;
};

/**
 * A request that may leave something behind is never cut off: Vault would do it all the same, and
 * nobody would know. Its callers leave, another server may be asked, and it goes on by itself.
 */
export type Leaves = {
  /** How long it may go on in all, in milliseconds, whatever limits its callers have. */
  readonly limitMs: number;
  /** Called where it is given up, with what will come of it. */
  givenUp(outcome: Promise<Result<VaultReply>>): void;
};

export type Content =
  /** `auth`, of a login. */
  | 'auth'
  /** `auth`, of a renewal; nothing (204) where what the token was granted to is gone. */
  | 'renewal'
  /** `data`, of a read. */
  | 'data'
  /** What the server says of itself, with a status of its own: sys/health. */
  | 'health'
  /** Nothing: 204, or a request_id with warnings alone. */
  | 'nothing'
  /** One result for each item of a batch: this field, or an `error`. */
  | { readonly field: 'ciphertext' | 'plaintext'; readonly items: number };

/** A whole reply of Vault. What comes from something in between is a failed {@link Result}. */
export type VaultReply = VaultAnswer | VaultRefusal;

/** What was asked for, whatever the status is: 400 and 500 may hold the results of a batch. */
export type VaultAnswer = {
  readonly kind: 'answer';
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly failure: undefined;
};

/** Vault's own words why it does not do what was asked. */
export type VaultRefusal = {
  readonly kind: 'refusal';
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** The same as a failure of the provider, which a caller can pass on. */
  readonly failure: Failure;
  /** The first part of its sentence: the request, the status, Vault's words fit to be shown; no advice. */
  readonly told: string;
  /** What stands in `errors`, as it came: for comparing. It may hold secrets, so it is never shown. */
  readonly words: string;
  readonly reach: Reach;
  /** Whether one item of a batch may be at fault for all of them: then the halves are asked for. */
  readonly ofItem: boolean;
  /** Whether Vault may have done what was asked all the same, as where it cannot write its audit log. */
  readonly mayBeDone: boolean;
};

/** A whole HTTP response of whatever answered. */
export type Response = {
  readonly status: number;
  readonly text: string;
  readonly contentType: string;
  readonly retryAfter: string | undefined;
  /** Where a redirect leads. */
  readonly location: string | undefined;
};

/**
 * Vault's reply, or a failure that says what answered in Vault's place. Vault is known by the form of
 * what it says, not by the status: by the content that was asked for, or by `errors` as texts.
 *
 * @param server who was asked, for the sentence of an error
 * @param now in milliseconds since the epoch
 */
export function readReply(
  request: VaultRequest,
  server: string,
  response: Response,
  now: number,
): Result<VaultReply> {
  const { status } = response;
  const stranger = (why: string): Failure => notVault(request, server, response, why, now);
  // A standby that cannot forward sends its clients to the active node, without a body; a proxy has one.
  if (status === TEMPORARY_REDIRECT && response.text === '')
    return succeed(refused(request, response, {}, [], now));
  if (status > 300 && status < 400) return stranger(redirectOf(response));
  const mayBeEmpty = request.holds === 'nothing' || request.holds === 'renewal';
  if (response.text === '' && status === 204 && mayBeEmpty)
    return succeed({ kind: 'answer', status, body: {}, failure: undefined });
  const parsed = parseBody(response);
  if (!parsed.ok) return stranger(parsed.why);
  const { body } = parsed;
  const lacks = lacksOf(request.holds, body);
  if (lacks === undefined && mayAnswer(request.holds, status))
    return succeed({ kind: 'answer', status, body, failure: undefined });
  // Else each request would count as an outage, and what Vault wrapped is for somebody else to open.
  if (status < 300 && isObject(body['wrap_info']))
    return fail('denied', `${request.what}: ${WRAPPED}`);
  const words = wordsOf(body);
  if (status >= 400 && words !== undefined)
    return succeed(refused(request, response, body, words, now));
  return stranger(status < 300 ? (lacks ?? 'it means nothing') : 'it gives no reason in errors');
}

const TEMPORARY_REDIRECT = 307;

/** Why Vault refuses. KV version 2 says it in `warnings` where another engine was meant. */
function wordsOf({
  errors,
  warnings,
  request_id,
}: VaultReply['body']): readonly string[] | undefined {
  if (isTexts(errors)) return errors;
  return typeof request_id === 'string' && isTexts(warnings) ? warnings : undefined;
}

/** https://developer.hashicorp.com/vault/docs/enterprise/control-groups */
const WRAPPED =
  'Vault answered with a wrapping token in place of the answer: a policy has a control group on the path, or something in between sets X-Vault-Wrap-TTL: remove it';

/** Which statuses Vault gives to an answer. */
function mayAnswer(holds: Content, status: number): boolean {
  // Vault 1.12 and newer answer 400 or 500 with the results where an item failed; sys/health says by
  // its status what the server is; a deleted version of a KV secret is 404 with data.
  if (typeof holds === 'object' || holds === 'health') return true;
  return status < 300 || (status === 404 && holds === 'data');
}

/** In words what is missing in a body; undefined where it holds what it should. */
function lacksOf(holds: Content, body: VaultReply['body']): string | undefined {
  switch (holds) {
    case 'nothing':
      return typeof body['request_id'] === 'string' ? undefined : 'there is no request_id in it';
    case 'health':
      return typeof body['sealed'] === 'boolean'
        ? undefined
        : 'it does not say whether it is sealed';
    case 'auth':
      return isLogin(body['auth']) ? undefined : 'there is no token in it';
    case 'renewal':
      return isObject(body['auth']) ? undefined : 'there is no auth in it';
    case 'data':
      return isObject(body['data']) ? undefined : 'there is no data in it';
  }
  const { data } = body;
  const results = isObject(data) ? data['batch_results'] : undefined;
  if (!Array.isArray(results)) return 'there are no results in it';
  if (results.length !== holds.items)
    return `it holds ${results.length} results for ${holds.items} items`;
  return results.every((result: unknown) => isResult(result, holds.field))
    ? undefined
    : `a result holds neither ${holds.field} nor error`;
}

/** Where Vault asks for a second factor the token is empty. */
function isLogin(auth: unknown): boolean {
  if (!isObject(auth) || typeof auth['client_token'] !== 'string') return false;
  return auth['client_token'] !== '' || isObject(auth['mfa_requirement']);
}

function isResult(result: unknown, field: string): boolean {
  if (!isObject(result)) return false;
  const { error, [field]: value } = result;
  if (typeof value === 'string' && value !== '') return true;
  return typeof error === 'string' && error !== '';
}

function isTexts(errors: unknown): errors is readonly string[] {
  return Array.isArray(errors) && errors.every((error) => typeof error === 'string');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refused(
  request: VaultRequest,
  { status, retryAfter, location }: Response,
  body: VaultReply['body'],
  errors: readonly string[],
  now: number,
): VaultRefusal {
  const answered = { status, errors, retryAfter, location: shown(location) };
  return { kind: 'refusal', status, body, ...refusalOf(request.what, answered, now) };
}

/** Whatever it is, it counts against this server, and another one may be Vault. */
function notVault(
  { what }: VaultRequest,
  server: string,
  { status, retryAfter }: Response,
  why: string,
  now: number,
): Failure {
  const wait = retryAfterMs(status, retryAfter, now, 'stranger');
  return fail(
    status === 429 ? 'throttled' : 'unavailable',
    `${what}: ${server} answers ${status}, but not as Vault does: ${why}`,
    {
      ...(wait === undefined ? {} : { retryAfterMs: wait }),
      ...(isNotForwarded(status) ? { cause: NOT_FORWARDED } : {}),
    },
  );
}

const NOT_FORWARDED = unsent(explained('something in between has answered by itself'));

/** What answers so has not asked Vault first: 408 and 5xx may come after Vault has done its work. */
function isNotForwarded(status: number): boolean {
  return status >= 300 && status < 500 && status !== 408;
}

function redirectOf({ location }: Response): string {
  const to = shown(location);
  return to === ''
    ? 'it redirects to nowhere'
    : `it redirects to ${to}: is that the address to name?`;
}

/** What follows a question mark may hold anything. */
function shown(location: string | undefined): string {
  return quote((location ?? '').replace(/[?#].*$/s, ''));
}

type Parsed =
  | { readonly ok: true; readonly body: VaultReply['body'] }
  | { readonly ok: false; readonly why: string };

/** The body as an object, or in words why it is nothing that Vault sends. */
function parseBody({ text, contentType }: Response): Parsed {
  if (text === '') return { ok: false, why: 'the answer is empty' };
  if (!contentType.startsWith('application/json')) {
    const known = KNOWN_PAGES.find(([pattern]) => pattern.test(text));
    if (known !== undefined) return { ok: false, why: known[1] };
    const type = quote(contentType.slice(0, 60)) || 'missing';
    return { ok: false, why: `content type ${type}; is there a proxy in between?` };
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { ok: false, why: 'what it sent is not JSON' };
  }
  return isObject(parsed)
    ? { ok: true, body: parsed }
    : { ok: false, why: 'what it sent is no JSON object' };
}

/** Pages of Go's net/http, which Vault's listener is made of, and of nginx. */
const KNOWN_PAGES: readonly (readonly [RegExp, string])[] = [
  [
    /HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS port/,
    'it speaks TLS: is the address https?',
  ],
  [
    /^404 page not found\n$/,
    'it serves no such path: a Vault in recovery mode answers so, and many other programs',
  ],
];
