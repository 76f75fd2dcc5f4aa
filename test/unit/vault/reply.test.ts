import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Content } from '../../../src/providers/vault/reply.ts';
import { replyOf } from './reply-of.ts';

const BATCH: Content = { field: 'plaintext', items: 2 };
const RESULTS = { data: { batch_results: [{ plaintext: 'YQ==' }, { error: 'too old' }] } };
const AUTH = { auth: { client_token: 'x' } };

/** A reply in a word or two: what it was classified as. */
function classOf(holds: Content, status: number, body: object | undefined): string {
  const result = replyOf({ what: 'asking', holds }, status, body);
  if (!result.ok) return `not Vault: ${result.error.kind}`;
  const { value } = result;
  return value.kind === 'answer' ? 'answer' : `refusal of the ${value.reach}`;
}

describe('a reply is known by its form', () => {
  const table: readonly (readonly [Content, number, object | undefined, string])[] = [
    // One result for each item is an answer, whatever the status is.
    ...[200, 207, 400, 500, 503].map((status) => [BATCH, status, RESULTS, 'answer'] as const),
    [BATCH, 200, { data: { batch_results: [{ plaintext: 'YQ==' }] } }, 'not Vault: unavailable'],
    [BATCH, 400, { data: { batch_results: [] } }, 'not Vault: unavailable'],
    [BATCH, 200, { data: {} }, 'not Vault: unavailable'],
    [BATCH, 200, {}, 'not Vault: unavailable'],
    [BATCH, 204, undefined, 'not Vault: unavailable'],
    [BATCH, 400, { errors: ['invalid ciphertext'] }, 'refusal of the request'],
    [BATCH, 200, { errors: ['invalid ciphertext'] }, 'not Vault: unavailable'],
    [BATCH, 400, { errors: [{ message: 'no' }] }, 'not Vault: unavailable'],
    [BATCH, 400, { errors: 'no' }, 'not Vault: unavailable'],
    [BATCH, 400, { message: 'no' }, 'not Vault: unavailable'],
    [BATCH, 403, { errors: ['permission denied'] }, 'refusal of the request'],
    // Vault always names a token or a policy.
    [BATCH, 403, { errors: [] }, 'refusal of the server'],
    [BATCH, 403, {}, 'not Vault: unavailable'],
    [BATCH, 429, { message: 'slow down' }, 'not Vault: throttled'],
    [BATCH, 503, {}, 'not Vault: unavailable'],
    [BATCH, 301, undefined, 'not Vault: unavailable'],
    [BATCH, 302, undefined, 'not Vault: unavailable'],
    [BATCH, 307, undefined, 'refusal of the server'],
    [BATCH, 307, { message: 'Temporary Redirect' }, 'not Vault: unavailable'],
    [BATCH, 308, undefined, 'not Vault: unavailable'],
    ['data', 200, { data: {} }, 'answer'],
    ['data', 200, { data: [] }, 'not Vault: unavailable'],
    ['data', 404, { data: { data: null, metadata: {} } }, 'answer'],
    ['data', 404, { errors: [] }, 'refusal of the request'],
    ['data', 404, {}, 'not Vault: unavailable'],
    // Another engine is mounted there: KV version 2.
    [
      'data',
      404,
      {
        request_id: 'x',
        data: null,
        warnings: ['Invalid path for a versioned K/V secrets engine.'],
      },
      'refusal of the request',
    ],
    ['data', 404, { warnings: ['no'] }, 'not Vault: unavailable'],
    // A control group of a policy, or a header that a load balancer adds.
    ...([BATCH, 'data', 'auth', 'renewal'] as const).map(
      (holds) =>
        [
          holds,
          200,
          { data: null, auth: null, wrap_info: { token: 'hvs.x', ttl: 60 } },
          'not Vault: denied',
        ] as const,
    ),
    ['data', 200, { data: {}, wrap_info: null }, 'answer'],
    ['data', 403, { data: {} }, 'not Vault: unavailable'],
    ['auth', 200, AUTH, 'answer'],
    ['auth', 200, { auth: null }, 'not Vault: unavailable'],
    ['auth', 400, AUTH, 'not Vault: unavailable'],
    ['auth', 200, { data: {} }, 'not Vault: unavailable'],
    ['auth', 204, undefined, 'not Vault: unavailable'],
    ['renewal', 200, AUTH, 'answer'],
    ['renewal', 204, undefined, 'answer'],
    ['renewal', 200, { auth: null }, 'not Vault: unavailable'],
    ['renewal', 200, undefined, 'not Vault: unavailable'],
    ['renewal', 500, { errors: ['failed to renew entry: no'] }, 'refusal of the request'],
    ['nothing', 204, undefined, 'answer'],
    ['nothing', 200, { request_id: 'x', warnings: ['x'] }, 'answer'],
    ['nothing', 200, { status: 'ok' }, 'not Vault: unavailable'],
    ['nothing', 200, undefined, 'not Vault: unavailable'],
    ['nothing', 200, [], 'not Vault: unavailable'],
    ['nothing', 502, undefined, 'not Vault: unavailable'],
    ['health', 200, { sealed: false }, 'answer'],
    ['health', 503, { sealed: true }, 'answer'],
    ['health', 200, { status: 'up' }, 'not Vault: unavailable'],
    ['health', 200, undefined, 'not Vault: unavailable'],
  ];
  for (const [holds, status, body, expected] of table) {
    const asked = typeof holds === 'object' ? 'a batch' : holds;
    it(`${asked}, ${status} ${JSON.stringify(body)}: ${expected}`, () => {
      assert.equal(classOf(holds, status, body), expected);
    });
  }
});

describe('a reply that is not of Vault says where it came from', () => {
  const messageOf = (status: number, headers: Readonly<Record<string, string>>): string => {
    const result = replyOf({ what: 'decrypting', holds: BATCH }, status, undefined, headers);
    assert.equal(result.ok, false);
    return result.error.message;
  };

  it('with the address that it redirects to, without what follows a question mark', () => {
    const to = messageOf(302, { location: 'https://portal.example/login?token=abc' });
    assert.match(to, /redirects to https:\/\/portal\.example\/login: /);
  });

  it('with the active node that a standby names', () => {
    const headers = { location: 'https://active:8200/v1/x' };
    const result = replyOf({ what: 'decrypting', holds: BATCH }, 307, undefined, headers);
    assert.match(
      (result.ok && result.value.failure?.error.message) || '',
      /go to https:\/\/active:8200\/v1\/x.*in addresses/,
    );
  });
});
