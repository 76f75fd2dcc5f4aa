/**
 * What an answer of Vault means, as a table: the kind decides what is done about it, the sentence
 * says it to an operator. Seen on Vault 1.9.3 and 1.21.1; https://developer.hashicorp.com/vault/api-docs
 */
import { fail, type ProviderError, type ProviderErrorKind, type Result } from '../errors.ts';

type Meaning = {
  readonly kind: ProviderErrorKind;
  /** What to do about it, after what Vault said. */
  readonly advice: string;
};

/** What to do where the key is not there. Making another one would hide the loss. */
export const KEY_IS_GONE =
  'the key does not exist: check mount, key and namespace, or restore the key from a backup; do not make a new one in its place';

/** By what Vault says, whatever the status is: 1.9.3 answers 500 where newer ones answer 400. */
const BY_MESSAGE: readonly (readonly [RegExp, Meaning])[] = [
  [
    /message authentication failed/i,
    {
      kind: 'invalid',
      advice:
        'the ciphertext was damaged, or made by another key; was the key deleted and made again under the same name?',
    },
  ],
  [
    /disallowed by policy \(too old\)/i,
    {
      kind: 'denied',
      advice:
        "the ciphertext's version lies below the key's min_decryption_version: lower it, or write the object again from a backup",
    },
  ],
  [/encryption key not found|key not found/i, { kind: 'denied', advice: KEY_IS_GONE }],
  [
    /no handler for route|unsupported path|route entry not found/i,
    { kind: 'denied', advice: 'nothing is mounted there: check mount and namespace' },
  ],
  [/namespace not found|unknown namespace/i, { kind: 'denied', advice: 'check namespace' }],
  [
    /version is too new|version is too high/i,
    {
      kind: 'invalid',
      advice: 'the key never had that version; was it deleted and made again under the same name?',
    },
  ],
  [
    /encryption is higher than the latest|invalid ciphertext|invalid key version|base64|version .* (?:higher|not found)|unable to decode|no such version|ciphertext/i,
    { kind: 'invalid', advice: 'Vault cannot read it' },
  ],
  [/Vault is sealed/i, { kind: 'unavailable', advice: 'unseal it' }],
];

/** By the status of the answer, where its message says nothing more. */
const BY_STATUS: Readonly<Record<number, Meaning>> = {
  // A standby that cannot forward: what is active has just died, and another is being elected.
  307: {
    kind: 'unavailable',
    advice: 'this standby cannot reach the active node: is there one, and is it in addresses?',
  },
  400: { kind: 'invalid', advice: 'Vault does not take the request' },
  403: {
    kind: 'unauthenticated',
    advice: 'the token is not valid any more, or its policy does not allow this',
  },
  404: {
    kind: 'denied',
    advice: 'there is no such thing in Vault: check mount, key and namespace',
  },
  405: { kind: 'denied', advice: 'Vault does not take this there: check mount' },
  412: { kind: 'unavailable', advice: 'this standby has not caught up yet' },
  429: { kind: 'throttled', advice: 'a rate limit quota of Vault holds' },
  472: {
    kind: 'unavailable',
    advice: 'a disaster recovery secondary cannot serve: name the primary',
  },
  473: { kind: 'unavailable', advice: 'this performance standby cannot serve now' },
  501: { kind: 'unavailable', advice: 'this Vault is not initialised' },
  503: { kind: 'unavailable', advice: 'this Vault is sealed or under maintenance' },
};

const SERVER_FAULT: Meaning = {
  kind: 'unavailable',
  advice: 'Vault has trouble of its own: see its log',
};
const UNEXPECTED: Meaning = { kind: 'internal', advice: 'Vault does not answer so' };

const MAX_QUOTED = 200;
/** Vault's sentences are far shorter, and what follows must not cost time without bounds. */
const MAX_READ = 2_000;

/**
 * What an answer of 400 or more means.
 *
 * @param what the request in a few words, e.g. `decrypting`
 * @param messages what stands in `errors`
 * @param retryAfter the header of that name, in seconds or as a date (RFC 9110, section 10.2.3)
 */
export function errorOf(
  what: string,
  status: number,
  messages: readonly string[],
  retryAfter: string | undefined,
  now: number,
): Extract<Result<never>, { ok: false }> {
  const text = messages.join('; ').slice(0, MAX_READ);
  const said = quote(text);
  const byMessage = isBySentence(status, text) ? meaningOf(text) : undefined;
  const { kind, advice } =
    byMessage ?? BY_STATUS[status] ?? (status >= 500 ? SERVER_FAULT : UNEXPECTED);
  const message = `${what}: Vault answered ${status}${said === '' ? '' : ` (${said})`}: ${advice}`;
  return fail(kind, message, waitOf(status, retryAfter, now));
}

/** How long an answer asks to be left alone: with 429 (RFC 6585), or with 503 (RFC 9110, 10.2.3). */
export function waitOf(
  status: number,
  retryAfter: string | undefined,
  now: number,
): Pick<ProviderError, 'retryAfterMs'> {
  const wait = status === 429 || status === 503 ? retryAfterMs(retryAfter, now) : undefined;
  return wait === undefined ? {} : { retryAfterMs: wait };
}

/** What the message of one item in a batch means. */
export function itemErrorOf(what: string, message: string): Extract<Result<never>, { ok: false }> {
  const { kind, advice } = meaningOf(message.slice(0, MAX_READ)) ?? {
    kind: 'invalid' as const,
    advice: 'Vault does not take it',
  };
  return fail(kind, `${what}: Vault said (${quote(message)}): ${advice}`);
}

/** What a rate limit, a standby or a policy says is its status alone; so with trouble of Vault's own. */
function isBySentence(status: number, text: string): boolean {
  if ([403, 412, 429].includes(status)) return false;
  return status < 500 || (status === 500 && OUR_FAULT_AT_500.test(text));
}

/** 1.9.3 answers 500 to a tampered ciphertext, and to a token that is no JWT. */
const OUR_FAULT_AT_500 = /message authentication failed|illegal base64 data/i;

function meaningOf(message: string): Meaning | undefined {
  return BY_MESSAGE.find(([pattern]) => pattern.test(message))?.[1];
}

/** A wait in milliseconds; undefined where the header is missing or says nothing sensible. */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  // Date.parse takes nearly anything with a number in it for a date.
  const ms = /^\d+$/.test(header)
    ? Number(header) * 1000
    : HTTP_DATE.test(header)
      ? Date.parse(header) - now
      : Number.NaN;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : undefined;
}

const MAX_RETRY_AFTER_MS = 60_000;
const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*, .* GMT$/;

/**
 * What Vault said on one short line, without anything that looks like a token, a secret id, a
 * ciphertext or a key.
 */
export function quote(text: string): string {
  const line = text
    .slice(0, MAX_READ)
    // First, since the end of its head may look like the head of a token.
    .replace(/eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+/g, '[jwt]')
    .replace(/(?:hv[sbr]|\b[sbr])\.[A-Za-z0-9_-]{8,}/g, '[token]')
    .replace(/vault:v\d+:[A-Za-z0-9+/=]*/g, '[ciphertext]')
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, '[id]')
    .replace(BASE64_OF_A_KEY, '[base64]')
    .replace(/\d+ errors? occurred:/g, '')
    .replace(/[\s\p{C}*]+/gu, ' ')
    .trim();
  return line.length > MAX_QUOTED ? `${line.slice(0, MAX_QUOTED).toWellFormed()}...` : line;
}

/** Long, and with figures and letters of both cases in it, which tells it from a path. */
const BASE64_OF_A_KEY =
  /(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?=[A-Za-z+/]*\d)[A-Za-z0-9+/]{24,}={0,2}/g;

/** What a request that brought no answer means, by the error that Node or undici gave. */
export function connectionErrorOf(
  what: string,
  address: string,
  error: unknown,
): Extract<Result<never>, { ok: false }> {
  const code = codeOf(error);
  const [kind, advice] = BY_CODE[code] ?? ['unavailable' as const, ''];
  const message = `${what}: cannot reach ${address}: ${code}${advice === '' ? '' : `: ${advice}`}`;
  return fail(kind, message, { cause: error });
}

const CHECK_CA =
  'the certificate is not signed by an authority in tls.caFile, or by one that the system knows';
const CHECK_CLIENT =
  'Vault does not take the client certificate, or wants one: check tls.certFile and tls.keyFile';

const BY_CODE: Readonly<Record<string, readonly [ProviderErrorKind, string]>> = {
  ECONNREFUSED: ['unavailable', 'nothing listens there'],
  ENOTFOUND: ['unavailable', 'the name is not in DNS'],
  EAI_AGAIN: ['unavailable', 'DNS does not answer'],
  UND_ERR_CONNECT_TIMEOUT: ['unavailable', 'no connection in time'],
  UND_ERR_HEADERS_TIMEOUT: ['unavailable', 'no answer in time'],
  UND_ERR_BODY_TIMEOUT: ['unavailable', 'the answer stopped midway'],
  UND_ERR_RES_EXCEEDED_MAX_SIZE: ['internal', 'the answer is far too long for Vault'],
  UND_ERR_ABORTED: ['unavailable', 'no answer in time'],
  UND_ERR_PRX_TLS: ['unavailable', 'the proxy does not speak TLS as expected'],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['unavailable', CHECK_CA],
  SELF_SIGNED_CERT_IN_CHAIN: ['unavailable', CHECK_CA],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['unavailable', CHECK_CA],
  UNABLE_TO_GET_ISSUER_CERT: ['unavailable', CHECK_CA],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['unavailable', CHECK_CA],
  CERT_SIGNATURE_FAILURE: ['unavailable', CHECK_CA],
  CERT_HAS_EXPIRED: ['unavailable', 'its certificate has expired'],
  CERT_NOT_YET_VALID: ['unavailable', 'its certificate is not valid yet: check the clocks'],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    'unavailable',
    'its certificate is for another name: set tls.serverName, or use that name',
  ],
  ERR_SSL_WRONG_VERSION_NUMBER: ['unavailable', 'it does not speak TLS there: is it http?'],
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: ['unavailable', CHECK_CLIENT],
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: ['unavailable', CHECK_CLIENT],
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: ['unavailable', CHECK_CLIENT],
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: ['unavailable', 'it has no TLS 1.2 or newer'],
};

/** The code of an error, or of the first of several (a name with several addresses) or its cause. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  if (error.cause instanceof Error && (code === undefined || code === 'UND_ERR_PRX_CONN'))
    return codeOf(error.cause);
  if (error.name === 'TimeoutError') return 'UND_ERR_HEADERS_TIMEOUT';
  if (error.name === 'AbortError') return 'UND_ERR_ABORTED';
  return code ?? error.name;
}
