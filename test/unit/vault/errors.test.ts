import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ProviderErrorKind } from '../../../src/providers/errors.ts';
import {
  codeOf,
  connectionErrorOf,
  itemErrorOf,
  quote,
  type Reach,
  refusalOf,
  refusesCertificate,
  retryAfterMs,
} from '../../../src/providers/vault/errors.ts';

const KINDS = ['unavailable', 'throttled', 'unauthenticated', 'denied', 'invalid', 'internal'];
const refused = (status: number, errors: readonly string[], retryAfter?: string, now = 0) =>
  refusalOf('decrypting', { status, errors, retryAfter, location: '' }, now);

describe('what an answer of Vault means', () => {
  const table: readonly (readonly [number, string, ProviderErrorKind, Reach?])[] = [
    [400, '', 'invalid'],
    [400, 'cipher: message authentication failed', 'invalid'],
    [500, '1 error occurred:\n\t* cipher: message authentication failed\n\n', 'invalid'],
    [400, 'invalid ciphertext: no prefix', 'invalid'],
    [500, '1 error occurred:\n\t* crypto/rsa: decryption error\n\n', 'invalid'],
    [400, 'invalid ciphertext: version is too new', 'behind'],
    [400, 'requested version for encryption is higher than the latest key version', 'behind'],
    [400, 'ciphertext or signature version is disallowed by policy (too old)', 'denied'],
    [400, 'encryption key not found', 'denied'],
    [400, 'refusing to use soft-deleted key', 'denied'],
    [403, 'permission denied', 'unauthenticated'],
    [403, '1 error occurred:\n\t* permission denied\n\n', 'unauthenticated'],
    [403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n', 'unauthenticated'],
    [403, 'encryption key not found', 'unauthenticated'],
    [404, '', 'denied'],
    [404, 'no handler for route "nowhere/keys/k". route entry not found.', 'denied'],
    [405, 'unsupported operation', 'denied'],
    [412, 'required index state not present', 'unavailable', 'attempt'],
    [412, 'ciphertext', 'unavailable', 'attempt'],
    [413, 'http: request body too large', 'invalid'],
    ...[
      'JSON array exceeds allowed element count',
      'JSON string value exceeds allowed length',
      'JSON number value exceeds allowed length',
      'JSON object exceeds allowed entry count',
      'JSON payload exceeds allowed token count',
      'JSON input exceeds allowed nesting depth',
    ].map((said) => [500, said, 'invalid'] as const),
    [
      500,
      '1 error occurred:\n\t* failed to renew entry: policies have changed, not renewing\n\n',
      'denied',
    ],
    [
      500,
      '1 error occurred:\n\t* failed to renew entry: role "r" does not exist during renewal\n\n',
      'denied',
    ],
    [500, 'could not load backend configuration', 'denied'],
    [418, '', 'internal'],
    [429, 'request path "transit/encrypt/k": rate limit quota exceeded', 'throttled'],
    [429, 'ciphertext', 'throttled'],
    [429, 'lease count quota exceeded', 'throttled'],
    [403, '', 'unavailable', 'server'],
    [400, 'path disabled in replication DR secondary mode', 'unavailable', 'server'],
    ...[
      'missing x-forwarded-for header and configured to reject when not present',
      'client address not authorized for x-forwarded-for and configured to reject connection',
      'malformed x-forwarded-for configuration or request, hops to skip (1) would skip before earliest chain link (chain length 1)',
      'malformed x-forwarded-for IP address nobody',
    ].map((said) => [400, said, 'unavailable', 'server'] as const),
    [500, 'cannot write to readonly storage', 'unavailable', 'server'],
    [500, 'local node not active but active cluster node not found', 'unavailable', 'server'],
    [503, 'no active Vault instance found', 'unavailable', 'server'],
    [503, 'node is not active', 'unavailable', 'server'],
    [
      503,
      'API access to this namespace has been locked by an administrator - "team/" must be unlocked to gain access.',
      'unavailable',
      'attempt',
    ],
    [503, 'namespace is sealed', 'unavailable', 'attempt'],
    [503, '1 error occurred:\n\t* overloaded, try again later\n\n', 'unavailable', 'attempt'],
    ...[
      'error validating token: error verifying token signature: fetching keys oidc: get keys failed Get "http://idp/jwks": dial tcp: connect: connection refused',
      'error validating token: error verifying token signature: fetching keys oidc: get keys failed: 503 Service Unavailable',
      'error configuring token validator: keyset configuration error: Get "https://idp/.well-known/openid-configuration": context deadline exceeded',
    ].map((said) => [400, said, 'unavailable', 'attempt'] as const),
    [472, '', 'unavailable', 'server'],
    [473, '', 'unavailable', 'server'],
    [307, '', 'unavailable', 'server'],
    [500, 'internal error', 'unavailable', 'attempt'],
    [501, '', 'unavailable', 'server'],
    [502, '', 'unavailable', 'server'],
    [503, 'Vault is sealed', 'unavailable', 'server'],
    [503, 'cipher: message authentication failed', 'unavailable', 'server'],
    [504, '', 'unavailable', 'server'],
    [599, '', 'unavailable', 'attempt'],
  ];
  for (const [status, said, kind, reach = 'request'] of table) {
    it(`${status} ${JSON.stringify(said)}: ${kind}, of the ${reach}`, () => {
      const refusal = refused(status, said === '' ? [] : [said]);
      assert.deepEqual([refusal.failure.error.kind, refusal.reach], [kind, reach]);
    });
  }

  it('is always one of the closed set, with a sentence that names the request and the status', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 300, max: 999 }),
        fc.array(fc.string()),
        fc.option(fc.string(), { nil: undefined }),
        (status, messages, retryAfter) => {
          const { error } = refused(status, messages, retryAfter).failure;
          assert.ok(KINDS.includes(error.kind));
          assert.ok(error.message.startsWith(`decrypting: Vault answered ${status}`));
          if (status !== 429 && status !== 503) assert.equal(error.retryAfterMs, undefined);
        },
      ),
    );
  });

  it('of one item in a batch: what Vault says decides, and what it never said before is invalid', () => {
    const kinds = [
      'cipher: message authentication failed',
      'ciphertext or signature version is disallowed by policy (too old)',
      'invalid ciphertext: version is too new',
      'refusing to use soft-deleted key',
      'something new',
    ].map((said) => itemErrorOf('decrypting', said, 400).error.kind);
    assert.deepEqual(kinds, ['invalid', 'denied', 'behind', 'denied', 'invalid']);
  });

  it('of one item, where all of the answer is trouble of its own: what it never said before may pass', () => {
    const kinds = ['crypto/rsa: decryption error', 'error using managed key'].map(
      (said) => itemErrorOf('decrypting', said, 500).error.kind,
    );
    assert.deepEqual(kinds, ['invalid', 'unavailable']);
  });
});

describe('Retry-After', () => {
  const now = Date.parse('2026-11-01T12:00:00Z');
  const table: readonly (readonly [string | undefined, number | undefined])[] = [
    ['0', 0],
    ['7', 7_000],
    ['86400', 60_000],
    ['9'.repeat(400), undefined],
    ['Sun, 01 Nov 2026 12:00:05 GMT', 5_000],
    ['Sunday, 01-Nov-26 12:00:05 GMT', 5_000],
    ['Sun, 01 Nov 2026 11:59:00 GMT', 0],
    ['Sun, 01 Nov 2099 12:00:00 GMT', 60_000],
    [undefined, undefined],
    ['', undefined],
    ['soon', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['in 5', undefined],
    ['2026', 60_000],
  ];
  for (const [header, wait] of table) {
    it(`${header === undefined ? 'missing' : JSON.stringify(header.slice(0, 40))}: ${wait ?? 'no'} ms`, () => {
      assert.equal(retryAfterMs(429, header, now, 'vault'), wait);
      assert.equal(refused(429, [], header, now).failure.error.retryAfterMs, wait);
    });
  }

  it('holds for two seconds at most, but for a quota of Vault: it is not a server that sets a limit', () => {
    for (const [status, from] of [
      [503, 'vault'],
      [503, 'stranger'],
      [429, 'stranger'],
    ] as const) {
      const waits = ['1', '3600'].map((header) => retryAfterMs(status, header, now, from));
      assert.deepEqual(waits, [1_000, 2_000], `${status} of ${from}`);
    }
    assert.equal(retryAfterMs(500, '1', now, 'vault'), undefined);
  });
});

describe('what Vault said, in a sentence for the operator', () => {
  const alphabet = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'];
  const word = fc.string({ unit: fc.constantFrom(...alphabet), minLength: 24, maxLength: 120 });
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 120 });
  const base64 = bytes.map((raw) => Buffer.from(raw).toString('base64'));
  const secrets = fc.oneof(
    fc.tuple(fc.constantFrom('hvs.', 'hvb.', 'hvr.', 's.', 'b.'), word).map((two) => two.join('')),
    base64.map((text) => `vault:v3:${text}`),
    // A data encryption key as Transit hands it out, and as a program in between may show it.
    base64.filter((text) => /\d|=$/.test(text) && /[A-Z]/.test(text) && /[a-z]/.test(text)),
    bytes.map((raw) => Buffer.from(raw).toString('hex')),
    bytes.map((raw) => Buffer.from(raw).toString('hex').toUpperCase()),
    fc.tuple(bytes, bytes).map(([head, tail]) => `eyJ${base64url(head)}.${base64url(tail)}`),
    fc.uuid(),
  );
  const base64url = (raw: Uint8Array): string => Buffer.from(raw).toString('base64url');
  const around = fc.constantFrom(' ', '"', "'", ': ', '\n\t* ', '=', '(', '\0', '\u001b');

  it('never holds a token, a ciphertext, a plaintext, a JWT or a secret id', () => {
    fc.assert(
      fc.property(fc.string(), around, secrets, around, (before, open, secret, close) => {
        const said = `${before}${open}${secret}${close} was not accepted`;
        const outcomes = [refused(500, [said]).failure, itemErrorOf('decrypting', said, 400)];
        const payload = secret.replace(/^(?:hv[sbr]\.|[sb]\.|vault:v3:|eyJ)/, '');
        for (const { error } of outcomes) {
          const shown = JSON.stringify(error);
          for (let at = 0; at + 16 <= payload.length; at += 8)
            assert.ok(!shown.includes(payload.slice(at, at + 16)), shown);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('never holds a key of 32 bytes whose base64 happens to have no digit', () => {
    const key = 'QWxsIHRoZXNlIGxldHRlcnMgYXJlIGEga2V5IGluIHQ='.replace(/\d/g, 'x');
    assert.equal(quote(`bad: ${key}`), 'bad: [base64]');
  });

  it('is one short line without control or invisible characters', () => {
    const nasty = fc.string({
      unit: fc.oneof(
        fc.constantFrom(
          '\r',
          '\n',
          '\0',
          '\u001b',
          '\u009b',
          '\u202e',
          '\u200b',
          '\u2028',
          '\u007f',
        ),
        fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
      ),
      maxLength: 1_000,
    });
    fc.assert(
      fc.property(nasty, (said) => {
        const line = quote(said);
        assert.doesNotMatch(line, /[\p{C}\u2028\u2029]/u);
        assert.ok(line.length <= 203, `${line.length}`);
      }),
    );
  });

  it('is found in time in megabytes of anything', () => {
    for (const said of ['1', '1 error', 'version ', 's.', '=', ' *', 'eyJ', 'a-']) {
      const { error } = refused(400, [said.repeat((1 << 20) / said.length)]).failure;
      assert.ok(error.message.length < 400);
    }
  });

  it('finds the same as patterns that take the square of the length', () => {
    const pieces = [
      ...['eyJ', 'eyJ.', '.', '-', '_', 'a', 'B', '7', '+', '/', '=', '==', ' ', '\u00e9', '*'],
      ...['aaaaaaaaaaaa', 'AAAAAAAAAAAA', 'aB3aB3aB3aB3', '+/+/+/+/+/+/', '000000000000'],
      ...['1', '12 errors occurred:', ' error occurred:', 'vault:v1:', 's.', 'hvs.', 'x eyJa.b c'],
    ];
    const text = fc.array(fc.constantFrom(...pieces), { maxLength: 40 }).map((all) => all.join(''));
    fc.assert(
      fc.property(text, (said) => {
        assert.equal(quote(said), quoteBySquares(said));
      }),
      { numRuns: 3_000 },
    );
  });

  it('leaves what an operator needs: words, paths and numbers', () => {
    for (const said of [
      'no handler for route "team-a/transit/keys/kubernetes-production-2026".',
      'no handler for route "auth/KubernetesOfTheProductionCluster/login"',
      'trace 4bf92f3577b34da6a3ce929d0e0e4736',
    ])
      assert.equal(quote(`1 error occurred:\n\t* ${said}\n\n`), said);
  });
});

/** What `quote` must give, in patterns that are easier to read and try each end from each beginning. */
function quoteBySquares(text: string): string {
  const line = text
    .slice(0, 2_000)
    .replace(/eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+/g, '[jwt]')
    .replace(/(?:hv[sbr]|\b[sbr])\.[A-Za-z0-9_-]{8,}/g, '[token]')
    .replace(/vault:v\d+:[A-Za-z0-9+/=]*/g, '[ciphertext]')
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi, '[id]')
    .replace(/[0-9a-f]{48,}/gi, '[hex]')
    .replace(
      /(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?:(?=[A-Za-z+/]*\d)[A-Za-z0-9+/]{24,}={0,2}|[A-Za-z+/]{24,}={1,2})/g,
      '[base64]',
    )
    .replace(/\d+ errors? occurred:/g, '')
    .replace(/[\s\p{C}*]+/gu, ' ')
    .trim();
  return line.length > 200 ? `${line.slice(0, 200).toWellFormed()}...` : line;
}

describe('why no answer came', () => {
  const named = (code: string, cause?: unknown): Error =>
    Object.assign(new Error('x', { cause }), { code });
  const table: readonly (readonly [string, unknown, string])[] = [
    ['a code', named('ECONNREFUSED'), 'ECONNREFUSED'],
    ['a cause', new TypeError('fetch failed', { cause: named('ENOTFOUND') }), 'ENOTFOUND'],
    ['several addresses', new AggregateError([named('ECONNREFUSED')]), 'ECONNREFUSED'],
    ['a proxy', named('UND_ERR_PRX_CONN', named('ECONNRESET')), 'ECONNRESET'],
    ['no code at all', new RangeError('x'), 'RangeError'],
    ['something thrown that is no error', 'x', 'unknown error'],
    ['an abort', new DOMException('x', 'AbortError'), 'UND_ERR_ABORTED'],
  ];
  for (const [what, error, code] of table) {
    it(`is told by its code: ${what}`, () => assert.equal(codeOf(error), code));
  }

  it('names the address and what to do, and keeps the cause', () => {
    const cause = named('ERR_TLS_CERT_ALTNAME_INVALID');
    const { error } = connectionErrorOf('decrypting', 'https://vault:8200', cause);
    assert.equal(error.kind, 'unavailable');
    assert.match(error.message, /^decrypting: .*https:\/\/vault:8200.*tls\.serverName/);
    assert.equal(error.cause, cause);
  });

  it("asks for the port where the server ends the TLS connection, as Vault's cluster port does", () => {
    for (const code of [
      'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR',
      'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
      'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE',
      'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
      'ERR_SSL_TLSV1_UNRECOGNIZED_NAME',
    ]) {
      const { error } = connectionErrorOf('reading', 'https://vault:8201', named(code));
      assert.match(error.message, new RegExp(`${code}: it refuses .*8200.*8201`));
    }
  });

  it('names the client certificate where the server refuses it, and nothing was sent then', () => {
    for (const code of [
      'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
      'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE',
      'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED',
      'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_REVOKED',
      'ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN',
      'ERR_SSL_SSL/TLS_ALERT_UNSUPPORTED_CERTIFICATE',
      'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
      'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED',
    ]) {
      const { error } = connectionErrorOf('reading', 'https://vault:8200', named(code));
      assert.match(
        error.message,
        new RegExp(`${code}: Vault does not take .*certFile and keyFile`),
      );
      assert.ok(refusesCertificate(named(code)));
    }
    for (const code of ['ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR', 'UND_ERR_SOCKET', 'CERT_HAS_EXPIRED'])
      assert.ok(!refusesCertificate(named(code)));
  });
});
