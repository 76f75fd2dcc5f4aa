/**
 * What an answer of Vault means, as a table: the kind decides what is done about it, the sentence
 * says it to an operator. Seen on Vault 1.9.3 and 1.21.1; https://developer.hashicorp.com/vault/api-docs
 */
import { fail, type ProviderErrorKind, type Result } from '../errors.ts';

/** A failure of a provider as an outcome. */
export type Failure = Extract<Result<never>, { ok: false }>;

/** For whom a refusal of one server holds. */
export type Reach =
  /** For the request: every server of this Vault would say the same. */
  | 'request'
  /** For this request at this server: another one may do better with it. */
  | 'attempt'
  /** For all that this server is asked: it cannot serve at all now. */
  | 'server';

type Meaning = {
  readonly kind: ProviderErrorKind;
  /** What to do about it, after what Vault said. */
  readonly advice: string;
  /** Where the server cannot serve anything: see {@link Reach}. */
  readonly down?: true;
  /** Whether one item of a batch can be at fault for the whole of it. */
  readonly ofItem?: true;
  /** See {@link ProviderError.retired}. */
  readonly retired?: true;
  /** Whether Vault may have done what was asked all the same. */
  readonly mayBeDone?: true;
};

/** What to do where the key is not there. Making another one would hide the loss. */
export const KEY_IS_GONE =
  'the key does not exist: check mount, key and namespace, or restore the key from a backup; do not make a new one in its place';

/** OpenBao keeps the material of such a key, and refuses every use of it (sdk/helper/keysutil/policy.go). */
export const KEY_IS_SOFT_DELETED =
  'the key is marked as deleted (soft_deleted) and still there: have it restored (write to its path with /soft-delete-restore); do not make a new one in its place';

/** What a server says of itself, under whatever status: a DR secondary answers 400. */
const BY_STATE: readonly (readonly [RegExp, Meaning])[] = [
  [/Vault is sealed/i, { kind: 'unavailable', advice: 'unseal it', down: true }],
  [
    /disabled in replication DR secondary mode/i,
    {
      kind: 'unavailable',
      advice: 'a disaster recovery secondary cannot serve: name the primary in addresses',
      down: true,
    },
  ],
  [
    /active cluster node not found|no active Vault instance|node is not active|in standby mode|forward to the active node/i,
    {
      kind: 'unavailable',
      advice: 'this standby knows no active node: is one being elected?',
      down: true,
    },
  ],
  [
    /read-?only storage/i,
    {
      kind: 'unavailable',
      advice: 'this server cannot write: a secondary, or one that steps down',
      down: true,
    },
  ],
  // Of the listener, before anything that is asked for is read (vault/http/handler.go).
  [
    /x-forwarded-for/i,
    {
      kind: 'unavailable',
      advice:
        'its listener takes requests from load balancers alone: name one of those in addresses, see that it sends the header and stands in x_forwarded_for_authorized_addrs, or set x_forwarded_for_reject_not_present or x_forwarded_for_reject_not_authorized to false',
      down: true,
    },
  ],
  [
    /API access to this namespace has been locked/i,
    { kind: 'unavailable', advice: 'an administrator has to unlock the namespace' },
  ],
  [/namespace is sealed/i, { kind: 'unavailable', advice: 'unseal the namespace' }],
  [
    /overloaded, try again later/i,
    { kind: 'unavailable', advice: 'Vault has more to do than it can' },
  ],
  [
    /get keys failed|keyset configuration error/i,
    {
      kind: 'unavailable',
      advice:
        "Vault cannot fetch the public keys of the token's signer: does the server at jwks_url or oidc_discovery_url of the method's configuration answer?",
    },
  ],
];

/** By what Vault says of the request, whatever the status is: 1.9.3 answers 500 where newer ones answer 400. */
const BY_MESSAGE: readonly (readonly [RegExp, Meaning])[] = [
  [
    /message authentication failed|decryption error/i,
    {
      kind: 'invalid',
      advice:
        'the ciphertext was damaged, or made by another key; was the key deleted and made again under the same name?',
      ofItem: true,
    },
  ],
  [
    /disallowed by policy \(too old\)/i,
    {
      kind: 'denied',
      advice:
        "the ciphertext's version lies below the key's min_decryption_version: lower it, which Vault refuses where the version was trimmed away (min_available_version), or write the object again, with a change, by a kube-apiserver that still has it in memory, or from a backup",
      ofItem: true,
      retired: true,
    },
  ],
  [
    /version is too (?:new|high)|higher than the latest/i,
    {
      kind: 'behind',
      advice:
        'this server does not know that version of the key: it is behind, Vault was restored from an older backup, or the key was deleted and made again under the same name',
      ofItem: true,
    },
  ],
  [/encryption key not found|key not found/i, { kind: 'denied', advice: KEY_IS_GONE }],
  [/soft-deleted key/i, { kind: 'denied', advice: KEY_IS_SOFT_DELETED }],
  [
    /JSON .*exceeds allowed/i,
    {
      kind: 'invalid',
      advice: "the request is larger than the listener's limits of JSON (max_json_...)",
      ofItem: true,
    },
  ],
  [
    /past the max TTL/i,
    { kind: 'denied', advice: 'the token has lived as long as its role or mount allows by now' },
  ],
  [
    /failed to renew entry/i,
    { kind: 'denied', advice: 'the method that granted the token does not renew it any more' },
  ],
  [
    /could not load backend configuration/i,
    { kind: 'denied', advice: 'the method is not configured in Vault' },
  ],
  [
    /no handler for route|unsupported path|route entry not found/i,
    { kind: 'denied', advice: 'nothing is mounted there: check mount and namespace' },
  ],
  [/namespace not found|unknown namespace/i, { kind: 'denied', advice: 'check namespace' }],
  [
    /invalid ciphertext|invalid key version|base64|version .* not found|unable to decode|no such version|ciphertext/i,
    { kind: 'invalid', advice: 'Vault cannot read it', ofItem: true },
  ],
];

/** By the status of the answer, where its message says nothing more. */
const BY_STATUS: Readonly<Record<number, Meaning>> = {
  // A standby that cannot forward: what is active has just died, and another is being elected.
  307: {
    kind: 'unavailable',
    advice: 'this standby cannot reach the active node: is there one, and is it in addresses?',
    down: true,
  },
  400: { kind: 'invalid', advice: 'Vault does not take the request', ofItem: true },
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
  413: {
    kind: 'invalid',
    advice: "the request is larger than the listener's max_request_size",
    ofItem: true,
  },
  429: { kind: 'throttled', advice: 'a rate limit quota of Vault holds' },
  // Of sys/health alone, which is not asked for in the way of a call; kept for what forwards it.
  472: {
    kind: 'unavailable',
    advice: 'a disaster recovery secondary cannot serve: name the primary',
    down: true,
  },
  473: { kind: 'unavailable', advice: 'this performance standby cannot serve now', down: true },
  501: { kind: 'unavailable', advice: 'this Vault is not initialised', down: true },
  502: {
    kind: 'unavailable',
    advice: 'Vault cannot reach another Vault',
    down: true,
    mayBeDone: true,
  },
  503: { kind: 'unavailable', advice: 'this Vault is sealed or under maintenance', down: true },
  504: { kind: 'unavailable', advice: 'Vault had no answer in time', down: true, mayBeDone: true },
};

/** A token or a policy is always named; only a server in recovery mode denies so (vault/http/logical.go). */
const WITHOUT_A_WORD: Meaning = {
  kind: 'unavailable',
  advice: 'it gives no reason: a Vault in recovery mode does so',
  down: true,
};
const SERVER_FAULT: Meaning = {
  kind: 'unavailable',
  advice: 'Vault has trouble of its own: see its log',
  mayBeDone: true,
};
const UNEXPECTED: Meaning = { kind: 'internal', advice: 'Vault does not answer so' };

const MAX_QUOTED = 200;
/** Vault's sentences are far shorter, and what follows must not cost time without bounds. */
const MAX_READ = 2_000;

export type Refused = {
  readonly status: number;
  /** What stands in `errors`. */
  readonly errors: readonly string[];
  /** The header of that name, in seconds or as a date (RFC 9110, section 10.2.3). */
  readonly retryAfter: string | undefined;
  /** Where a redirect leads, fit to be shown; empty where it is none. */
  readonly location: string;
};

/**
 * What a refusal of Vault means.
 *
 * @param what the request in a few words, e.g. `decrypting`
 * @param now in milliseconds since the epoch
 */
export function refusalOf(
  what: string,
  { status, errors, retryAfter, location }: Refused,
  now: number,
): {
  readonly failure: Failure;
  readonly told: string;
  readonly words: string;
  readonly reach: Reach;
  readonly ofItem: boolean;
  readonly mayBeDone: boolean;
} {
  const words = errors.join('; ').slice(0, MAX_READ);
  const meaning = meaningOf(status, words);
  const { kind, advice, down, ofItem, retired, mayBeDone } = meaning;
  const said = location === '' ? quote(words) : `go to ${location}`;
  const told = `${what}: Vault answered ${status}${said === '' ? '' : ` (${said})`}`;
  const wait = retryAfterMs(status, retryAfter, now, 'vault');
  const failure = fail(kind, `${told}: ${advice}`, {
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
    ...(retired && { retired }),
  });
  const reach = down === true ? 'server' : kind === 'unavailable' ? 'attempt' : 'request';
  return {
    ...{ failure, told, words, reach },
    ofItem: ofItem === true,
    mayBeDone: mayBeDone === true,
  };
}

function meaningOf(status: number, words: string): Meaning {
  if (status === 403 && words === '') return WITHOUT_A_WORD;
  const bySentence =
    find(BY_STATE, words) ?? (isBySentence(status, words) ? find(BY_MESSAGE, words) : undefined);
  return bySentence ?? BY_STATUS[status] ?? (status >= 500 ? SERVER_FAULT : UNEXPECTED);
}

/**
 * What the message of one item in a batch means.
 *
 * @param status of the whole answer: 500 where an item met with trouble of Vault's own
 */
export function itemErrorOf(what: string, message: string, status: number): Failure {
  const words = message.slice(0, MAX_READ);
  const { kind, advice, retired }: Meaning =
    find(BY_STATE, words) ??
    find(BY_MESSAGE, words) ??
    (status >= 500 ? SERVER_FAULT : { kind: 'invalid' as const, advice: 'Vault does not take it' });
  return fail(kind, `${what}: Vault said (${quote(message)}): ${advice}`, retired && { retired });
}

/** What a rate limit, a standby or a policy says is its status alone; so with trouble of Vault's own. */
function isBySentence(status: number, text: string): boolean {
  if ([403, 412, 413, 429].includes(status)) return false;
  return status < 500 || (status === 500 && OUR_FAULT_AT_500.test(text));
}

/**
 * 1.9.3 answers 500 to a tampered ciphertext, whatever the type of the key, and to a token that is no JWT;
 * newer ones to what exceeds the listener's limits of JSON; all to a renewal that the method refuses
 * or that comes too late, and to a login by Kubernetes before that is configured.
 */
const OUR_FAULT_AT_500 =
  /message authentication failed|decryption error|illegal base64 data|JSON .*exceeds allowed|failed to renew entry|past the max TTL|could not load backend configuration/i;

function find(table: readonly (readonly [RegExp, Meaning])[], words: string): Meaning | undefined {
  return table.find(([pattern]) => pattern.test(words))?.[1];
}

/**
 * How long an answer asks not to be asked again, in milliseconds: with 429 (RFC 6585), or with 503
 * (RFC 9110, 10.2.3); undefined where it does not, or says nothing sensible. A quota of Vault is
 * obeyed; what a load balancer says, or a server that is away, must not stop all calls for long.
 */
export function retryAfterMs(
  status: number,
  header: string | undefined,
  now: number,
  from: 'vault' | 'stranger',
): number | undefined {
  if (header === undefined || (status !== 429 && status !== 503)) return undefined;
  // Date.parse takes nearly anything with a number in it for a date.
  const ms = /^\d+$/.test(header)
    ? Number(header) * 1000
    : HTTP_DATE.test(header)
      ? Date.parse(header) - now
      : Number.NaN;
  const most = status === 429 && from === 'vault' ? MOST_OF_A_QUOTA_MS : MOST_OF_OTHERS_MS;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), most) : undefined;
}

const MOST_OF_A_QUOTA_MS = 60_000;
const MOST_OF_OTHERS_MS = 2_000;
const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*, .* GMT$/;

/**
 * What Vault said on one short line, without anything that looks like a token, a secret id, a
 * ciphertext or a key. The time that it takes is proportional to the length: no pattern begins to match
 * where it has failed to match from an earlier character of the same run.
 */
export function quote(text: string): string {
  const line = text
    .slice(0, MAX_READ)
    // First, since the end of its head may look like the head of a token.
    .replace(/[A-Za-z0-9_.-]+/g, withoutJwt)
    .replace(/(?:hv[sbr]|\b[sbr])\.[A-Za-z0-9_-]{8,}/g, '[token]')
    .replace(/vault:v\d+:[A-Za-z0-9+/=]*/g, '[ciphertext]')
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, '[id]')
    .replace(/[0-9a-f]{48,}/gi, '[hex]')
    .replace(/[A-Za-z0-9+/]{24,}={0,2}/g, withoutBase64OfAKey)
    .replace(/(?<!\d)\d+ errors? occurred:/g, '')
    .replace(/[\s\p{C}*]+/gu, ' ')
    .trim();
  return line.length > MAX_QUOTED ? `${line.slice(0, MAX_QUOTED).toWellFormed()}...` : line;
}

/** A JWT begins with `{"` in base64url, and has a dot behind its head (RFC 7519). */
function withoutJwt(run: string): string {
  for (let at = run.indexOf('eyJ'); at !== -1; at = run.indexOf('eyJ', at + 1)) {
    const head = at + 'eyJ'.length;
    const dot = run.indexOf('.', head);
    if (dot === -1 || dot === run.length - 1) return run;
    if (dot > head) return `${run.slice(0, at)}[jwt]`;
  }
  return run;
}

/** Long, with letters of both cases in it, and with a figure or the padding, which tell it from a path. */
function withoutBase64OfAKey(run: string): string {
  return /[A-Z]/.test(run) && /[a-z]/.test(run) && /[\d=]/.test(run) ? '[base64]' : run;
}

/** What a request that brought no answer means, by the error that Node or undici gave. */
export function connectionErrorOf(what: string, address: string, error: unknown): Failure {
  const told = `${what}: cannot reach ${address}`;
  if (error instanceof Error && error.name === EXPLAINED)
    return fail('unavailable', `${told}: ${error.message}`, { cause: error });
  const code = codeOf(error);
  const [kind, advice] = BY_CODE[code] ?? byAlert(code) ?? otherwise(code);
  return fail(kind, `${told}: ${code}${advice === '' ? '' : `: ${advice}`}`, { cause: error });
}

function otherwise(code: string): readonly [ProviderErrorKind, string] {
  if (OF_OURS.test(code)) return OUR_INPUT;
  return OF_HTTP.test(code) ? NO_HTTP : UNKNOWN_CODE;
}

/** An error whose message is a sentence for the operator already. */
export function explained(message: string, cause?: unknown): Error {
  const error = new Error(message, { cause });
  error.name = EXPLAINED;
  return error;
}

const EXPLAINED = 'Explained';

/** Marks an error as one before anything was sent, so that even what works once can be sent again. */
export function unsent<E extends Error>(error: E): E {
  return Object.assign(error, { unsent: true });
}

/** Whether it is certain that Vault has not seen the request that failed so. */
export function isUnsent(error: unknown): boolean {
  return error instanceof Error && 'unsent' in error && error.unsent === true;
}

/** What Node and undici say of arguments, which a network cannot cause. */
const OF_OURS = /^(?:UND_ERR_INVALID_ARG|ERR_INVALID_.*|ERR_OUT_OF_RANGE|TypeError|RangeError)$/;
const OUR_INPUT = [
  'internal',
  'nothing was sent: something in the configuration is not fit for it',
] as const;
const UNKNOWN_CODE = ['unavailable', ''] as const;

const CHECK_CA =
  "the certificate is not signed by an authority in tls.caFile or, without that field, by one of the machine's";
/** Vault's cluster port, 8201, answers so. */
const CHECK_PORT =
  "it refuses the TLS connection: is this the port of Vault's API (often 8200, its cluster has 8201)?";
const CHECK_CLIENT =
  'Vault does not take the client certificate, or wants one: check certFile and keyFile of tls, or of auth.cert';

/** Of llhttp, which reads what is answered; where TLS is spoken that is an alert. */
const OF_HTTP = /^HPE_/;
const NO_HTTP = ['unavailable', 'it does not speak HTTP there: is it https?'] as const;

const BY_CODE: Readonly<Record<string, readonly [ProviderErrorKind, string]>> = {
  ECONNREFUSED: ['unavailable', 'nothing listens there'],
  ECONNRESET: ['unavailable', 'the connection was cut: is the address https where it should be?'],
  UND_ERR_SOCKET: [
    'unavailable',
    'the connection was cut: is the address https where it should be?',
  ],
  ETIMEDOUT: ['unavailable', 'no connection in time'],
  EHOSTUNREACH: ['unavailable', 'there is no way to it'],
  ENETUNREACH: ['unavailable', 'there is no way to it'],
  ENOTFOUND: ['unavailable', 'the name is not in DNS'],
  EAI_AGAIN: ['unavailable', 'DNS does not answer'],
  UND_ERR_CONNECT_TIMEOUT: ['unavailable', 'no connection in time'],
  UND_ERR_HEADERS_TIMEOUT: ['unavailable', 'no answer in time'],
  UND_ERR_BODY_TIMEOUT: ['unavailable', 'the answer stopped midway'],
  UND_ERR_RES_EXCEEDED_MAX_SIZE: ['unavailable', 'the answer is far too long for Vault'],
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
  // Of a request that was waiting to be written, whatever went wrong with TLS.
  EPROTO: ['unavailable', 'TLS with it fails: does it speak http there?'],
  ERR_SSL_TLSV1_UNRECOGNIZED_NAME: ['unavailable', CHECK_PORT],
};

/** What the other end says before it ends a TLS connection (RFC 8446, section 6), by its name in OpenSSL. */
const BY_ALERT: Readonly<Record<string, readonly [ProviderErrorKind, string]>> = {
  CERTIFICATE_REQUIRED: ['unavailable', CHECK_CLIENT],
  BAD_CERTIFICATE: ['unavailable', CHECK_CLIENT],
  UNSUPPORTED_CERTIFICATE: ['unavailable', CHECK_CLIENT],
  CERTIFICATE_REVOKED: ['unavailable', CHECK_CLIENT],
  CERTIFICATE_EXPIRED: ['unavailable', CHECK_CLIENT],
  CERTIFICATE_UNKNOWN: ['unavailable', CHECK_CLIENT],
  UNKNOWN_CA: ['unavailable', CHECK_CLIENT],
  ACCESS_DENIED: ['unavailable', CHECK_CLIENT],
  PROTOCOL_VERSION: ['unavailable', 'it has no TLS 1.2 or newer'],
  INTERNAL_ERROR: ['unavailable', CHECK_PORT],
  HANDSHAKE_FAILURE: ['unavailable', CHECK_PORT],
  NO_APPLICATION_PROTOCOL: ['unavailable', CHECK_PORT],
};

/** OpenSSL 3.5 has `SSL/TLS` in the name of some alerts that were of `SSLV3` before. */
const ALERT = /^ERR_SSL_(?:SSLV3|SSL\/TLS|TLSV1|TLSV13)_ALERT_(\w+)$/;

function byAlert(code: string): readonly [ProviderErrorKind, string] | undefined {
  return BY_ALERT[ALERT.exec(code)?.[1] ?? ''];
}

/**
 * Whether the server refuses our certificate. With TLS 1.3 it does so after the connection is open for us,
 * and has read no request then.
 */
export function refusesCertificate(error: unknown): boolean {
  return byAlert(codeOf(error))?.[1] === CHECK_CLIENT;
}

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
