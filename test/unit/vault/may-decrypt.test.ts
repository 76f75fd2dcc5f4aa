/** Whether Vault lets decrypt, asked with a ciphertext that no key has made. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ProviderErrorKind } from '../../../src/providers/errors.ts';
import { transitForm } from '../../../src/providers/vault/transit.ts';
import { DECRYPT, type FakeAnswer, json, refusal } from './fake-vault.ts';
import { patient, startProvider } from './provider-under-test.ts';

const item = (error: string, status = 400): FakeAnswer =>
  json(status, { data: { batch_results: [{ error }] } });
const POLICY = refusal(403, '1 error occurred:\n\t* permission denied\n\n');

/** Answers of Vault to that request, most of them seen on 1.9.3 and 1.21.1, and what they mean. */
const TABLE: readonly (readonly [string, FakeAnswer, 'allowed' | ProviderErrorKind, RegExp?])[] = [
  ['it does not authenticate', item('cipher: message authentication failed'), 'allowed'],
  [
    'it does not authenticate, by 1.9.3',
    refusal(500, '1 error occurred:\n\t* cipher: message authentication failed\n\n'),
    'allowed',
  ],
  [
    'its version lies below min_decryption_version',
    item('ciphertext or signature version is disallowed by policy (too old)'),
    'allowed',
  ],
  [
    'the same by 1.9.3',
    item('ciphertext or signature version is disallowed by policy (too old)', 200),
    'allowed',
  ],
  [
    'it is none of an RSA key',
    item('failed to RSA decrypt the ciphertext: crypto/rsa: decryption error', 500),
    'allowed',
  ],
  ['it has the wrong length', item('invalid ciphertext: could not decode'), 'allowed'],
  ['its version is too new', item('invalid ciphertext: version is too new'), 'allowed'],
  // Of a type that does not authenticate one in 256 texts seems to be one.
  ['a plaintext', json(200, { data: { batch_results: [{ plaintext: 'QUJD' }] } }), 'allowed'],
  ['no policy allows it', POLICY, 'denied', /update on transit\/decrypt\/kubernetes/],
  ['the key is gone', refusal(400, 'encryption key not found'), 'denied', /does not exist/],
  ['nothing is mounted there', refusal(404, 'no handler for route'), 'denied', /check mount/],
  ['the key is marked as deleted', item('soft-deleted key'), 'denied', /soft-delete-restore/],
  ['Vault is sealed', refusal(503, 'Vault is sealed'), 'unavailable', /unseal/],
  ['a quota holds', refusal(429, 'rate limit quota exceeded'), 'throttled'],
];

describe('asked whether it lets decrypt, a Vault that answers that', () => {
  for (const [what, answer, meaning, says] of TABLE) {
    it(`${what}: ${meaning}`, async (t) => {
      const { vault, provider } = await startProvider(t);
      vault.rule = ({ path }) => (path === DECRYPT ? answer : undefined);
      const outcome = await provider.mayDecrypt(patient());
      assert.equal(outcome.ok ? 'allowed' : outcome.error.kind, meaning);
      if (!outcome.ok && says !== undefined) assert.match(outcome.error.message, says);
      const asked = vault.seen.filter(({ path }) => path === DECRYPT);
      assert.ok(asked.length >= 1 && asked.length <= 2, 'once, and with another token once more');
      for (const { body } of asked) {
        const [one] = body['batch_input'] as readonly { readonly ciphertext: string }[];
        assert.equal(transitForm.parse(Buffer.from(one?.ciphertext ?? ''))?.version, 1);
      }
    });
  }
});
