import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ProviderErrorKind } from '../../../src/providers/errors.ts';
import {
  codeOf,
  connectionErrorOf,
  errorOf,
  itemErrorOf,
  quote,
  retryAfterMs,
} from '../../../src/providers/vault/errors.ts';

const KINDS = ['unavailable', 'throttled', 'unauthenticated', 'denied', 'invalid', 'internal'];
const kindOf = (status: number, ...messages: string[]): ProviderErrorKind =>
  errorOf('decrypting', status, messages, undefined, 0).error.kind;

describe('what an answer of Vault means', () => {
  const table: readonly (readonly [number, string, ProviderErrorKind])[] = [
    [400, '', 'invalid'],
    [400, 'cipher: message authentication failed', 'invalid'],
    [500, '1 error occurred:\n\t* cipher: message authentication failed\n\n', 'invalid'],
    [400, 'invalid ciphertext: no prefix', 'invalid'],
    [400, 'invalid ciphertext: version is too new', 'invalid'],
    [400, 'requested version for encryption is higher than the latest key version', 'invalid'],
    [400, 'ciphertext or signature version is disallowed by policy (too old)', 'denied'],
    [400, 'encryption key not found', 'denied'],
    [403, 'permission denied', 'unauthenticated'],
    [403, '1 error occurred:\n\t* permission denied\n\n', 'unauthenticated'],
    [403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n', 'unauthenticated'],
    [403, 'encryption key not found', 'unauthenticated'],
    [404, '', 'denied'],
    [404, 'no handler for route "nowhere/keys/k". route entry not found.', 'denied'],
    [405, 'unsupported operation', 'denied'],
    [412, 'required index state not present', 'unavailable'],
    [412, 'ciphertext', 'unavailable'],
    [418, '', 'internal'],
    [302, '', 'internal'],
    [429, 'request path "transit/encrypt/k": rate limit quota exceeded', 'throttled'],
    [429, 'ciphertext', 'throttled'],
    [472, '', 'unavailable'],
    [473, '', 'unavailable'],
    [307, '', 'unavailable'],
    [500, 'internal error', 'unavailable'],
    [501, '', 'unavailable'],
    [502, '', 'unavailable'],
    [503, 'Vault is sealed', 'unavailable'],
    [503, 'cipher: message authentication failed', 'unavailable'],
    [504, '', 'unavailable'],
    [599, '', 'unavailable'],
  ];
  for (const [status, said, kind] of table) {
    it(`${status} ${JSON.stringify(said)}: ${kind}`, () => {
      assert.equal(kindOf(status, ...(said === '' ? [] : [said])), kind);
    });
  }

  it('is always one of the closed set, with a sentence that names the request and the status', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 300, max: 999 }),
        fc.array(fc.string()),
        fc.option(fc.string(), { nil: undefined }),
        (status, messages, retryAfter) => {
          const { error } = errorOf('decrypting', status, messages, retryAfter, 0);
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
      'something new',
    ].map((said) => itemErrorOf('decrypting', said).error.kind);
    assert.deepEqual(kinds, ['invalid', 'denied', 'invalid']);
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
      assert.equal(retryAfterMs(header, now), wait);
      for (const status of [429, 503])
        assert.equal(errorOf('x', status, [], header, now).error.retryAfterMs, wait);
    });
  }
});

describe('what Vault said, in a sentence for the operator', () => {
  const alphabet = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'];
  const word = fc.string({ unit: fc.constantFrom(...alphabet), minLength: 24, maxLength: 120 });
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 120 });
  const base64 = bytes.map((raw) => Buffer.from(raw).toString('base64'));
  const secrets = fc.oneof(
    fc.tuple(fc.constantFrom('hvs.', 'hvb.', 'hvr.', 's.', 'b.'), word).map((two) => two.join('')),
    base64.map((text) => `vault:v3:${text}`),
    // A data encryption key as Transit hands it out. Random bytes: nearly all have a digit.
    base64.filter((text) => /\d/.test(text) && /[A-Z]/.test(text) && /[a-z]/.test(text)),
    fc.tuple(bytes, bytes).map(([head, tail]) => `eyJ${base64url(head)}.${base64url(tail)}`),
    fc.uuid(),
  );
  const base64url = (raw: Uint8Array): string => Buffer.from(raw).toString('base64url');
  const around = fc.constantFrom(' ', '"', "'", ': ', '\n\t* ', '=', '(', '\0', '\u001b');

  it('never holds a token, a ciphertext, a plaintext, a JWT or a secret id', () => {
    fc.assert(
      fc.property(fc.string(), around, secrets, around, (before, open, secret, close) => {
        const said = `${before}${open}${secret}${close} was not accepted`;
        const outcomes = [
          errorOf('decrypting', 500, [said], undefined, 0),
          itemErrorOf('decrypting', said),
        ];
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
      const { error } = errorOf('x', 400, [said.repeat((1 << 20) / said.length)], undefined, 0);
      assert.ok(error.message.length < 400);
    }
  });

  it('leaves what an operator needs: words, paths and numbers', () => {
    const said = 'no handler for route "team-a/transit/keys/kubernetes-production-2026".';
    assert.equal(quote(`1 error occurred:\n\t* ${said}\n\n`), said);
  });
});

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
});
