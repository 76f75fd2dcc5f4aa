import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeKey } from '../../../src/providers/vault/key.ts';

const PLACE = { mount: 'transit', key: 'kubernetes' };
const GOOD = {
  type: 'aes256-gcm96',
  derived: false,
  supports_encryption: true,
  supports_decryption: true,
  keys: { '1': 1_767_225_600 },
  latest_version: 1,
  min_decryption_version: 1,
};

describe('what Vault says of a Transit key', () => {
  // Of OpenBao: internal/builtin/logical/transit/path_keys.go, formatKeyPolicy.
  const refused: readonly (readonly [string, object, RegExp])[] = [
    ['is derived', { derived: true }, /needs a context/],
    ['does not encrypt', { type: 'hmac', supports_encryption: false }, /type hmac/],
    ['does not decrypt', { type: 'ed25519', supports_decryption: false }, /type ed25519/],
    [
      'is marked as deleted, in OpenBao',
      { soft_deleted: true },
      /soft-delete-restore.*do not make a new one/,
    ],
    [
      'is one of an HSM, in OpenBao',
      { type: 'external-key', keys: { '1': 'pkcs11/a-key' } },
      /no time of creation/,
    ],
  ];
  for (const [what, changed, says] of refused) {
    it(`a key that ${what} is refused, with what to do`, () => {
      const described = describeKey({ ...GOOD, ...changed }, PLACE);
      assert.ok(!described.ok);
      assert.equal(described.error.kind, 'denied');
      assert.match(described.error.message, /^key transit\/kubernetes/);
      assert.match(described.error.message, says);
    });
  }

  const types: readonly (readonly [string, RegExp | undefined])[] = [
    ['aes256-gcm96', undefined],
    ['aes128-gcm96', undefined],
    ['chacha20-poly1305', undefined],
    ['xchacha20-poly1305', undefined],
    ['aes128-cbc', /does not authenticate/],
    ['aes256-cbc', /does not authenticate/],
    ['rsa-2048', /everybody who has its public key/],
    ['rsa-3072', /everybody who has its public key/],
    ['rsa-4096', /everybody who has its public key/],
    ['managed_key', /not known whether it authenticates/],
    ['aes512-xyz', /not known whether it authenticates/],
  ];
  for (const [type, unfit] of types) {
    it(`a key of type ${type} is ${unfit === undefined ? 'fit' : 'not fit'} for encrypting, and described`, () => {
      const described = describeKey({ ...GOOD, type }, PLACE);
      assert.ok(described.ok);
      const said = described.value.unfit;
      if (unfit === undefined) return assert.equal(said, undefined);
      assert.match(said ?? '', unfit);
      assert.match(
        said ?? '',
        new RegExp(`^key transit/kubernetes has type ${type}, .*aes256-gcm96`),
      );
      assert.match(said ?? '', /keep this one in providers, where it only decrypts/);
    });
  }

  it('a key of OpenBao that is not marked as deleted is described as every other', () => {
    const described = describeKey({ ...GOOD, soft_deleted: false }, PLACE);
    assert.deepEqual(described, describeKey(GOOD, PLACE));
    assert.ok(described.ok);
  });
});
