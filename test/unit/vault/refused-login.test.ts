import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { refusedLogin } from '../../../src/providers/vault/auth/credentials-login.ts';
import { refusalOf } from '../../../src/providers/vault/errors.ts';

describe('a step of a login that Vault refuses', () => {
  // The advice of the step follows; what a status means for a call with a token would contradict it.
  const table = [
    ['login', 403, 'permission denied'],
    ['login', 400, 'invalid role or secret ID'],
    ['login', 400, 'illegal base64 data at input byte 4'],
    ['login', 404, 'no handler for route'],
    ['unwrap', 400, 'wrapping token is not valid or does not exist'],
    ['dedicated token', 403, 'permission denied'],
    ['dedicated token', 404, ''],
  ] as const;
  for (const [step, status, words] of table) {
    it(`${step}, ${status} ${words}: says what was asked and what Vault said, and nothing of a token`, () => {
      const answered = { status, errors: [words], retryAfter: undefined, location: '' };
      const refusal = refusalOf('logging in', answered, 0);
      const { error } = refusedLogin(step, 'p', { kind: 'refusal', status, body: {}, ...refusal });
      const said = words === '' ? '' : ` (${words})`;
      assert.equal(error.message, `logging in: Vault answered ${status}${said}`);
      assert.equal(error.kind, 'denied');
    });
  }

  it('keeps the sentence of what passes by itself', () => {
    const answered = {
      status: 503,
      errors: ['Vault is sealed'],
      retryAfter: undefined,
      location: '',
    };
    const refusal = refusalOf('logging in', answered, 0);
    const { error } = refusedLogin('login', 'p', {
      ...{ kind: 'refusal', status: 503, body: {} },
      ...refusal,
    });
    assert.match(error.message, /unseal it/);
    assert.equal(error.kind, 'unavailable');
  });
});
