import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readCredentials } from '../../../src/providers/vault/auth/credentials-login.ts';

function failure(more: { readonly name?: string; readonly code?: string }): Error {
  const cause = Object.assign(new Error('the cause'), more);
  return new Error('cannot read /secret: the cause', { cause });
}

/** What reading the file of a credential fails with, and whether Vault could take it a moment later. */
const FAILURES = [
  [failure({ name: 'TimeoutError' }), 'unavailable'],
  [failure({ code: 'EIO' }), 'unavailable'],
  [failure({ code: 'ESTALE' }), 'unavailable'],
  [failure({ code: 'ETIMEDOUT' }), 'unavailable'],
  [failure({ code: 'EMFILE' }), 'unavailable'],
  [failure({ code: 'ENFILE' }), 'unavailable'],
  [failure({ code: 'ENOMEM' }), 'unavailable'],
  [failure({ code: 'ENOENT' }), 'denied'],
  [failure({ code: 'EACCES' }), 'denied'],
  [failure({ code: 'EISDIR' }), 'denied'],
  [failure({}), 'denied'],
] as const;

describe('a credential whose file cannot be read', () => {
  for (const [error, kind] of FAILURES) {
    const { name, code } = error.cause as NodeJS.ErrnoException;
    it(`because of ${code ?? name} is ${kind}`, async () => {
      const read = await readCredentials({ secret: { place: '/secret', form: 'word' } }, () =>
        Promise.reject(error),
      );
      assert.ok(!read.ok);
      assert.equal(read.error.kind, kind);
      assert.match(read.error.message, /cannot read \/secret/);
    });
  }
});
