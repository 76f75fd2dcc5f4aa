import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { keyId } from '../../../src/keyring/key-id.ts';
import {
  decryptUnder,
  encryptUnder,
  type LocalKek,
  localKek,
  versionUnderLocalKek,
} from '../../../src/keyring/local-kek.ts';
import type { AnnouncedKey } from '../../../src/keyring/state.ts';

const KEK = Buffer.alloc(32, 5);
const WRAPPED = Buffer.from('vault:v7:d3JhcHBlZA==');

const announced: AnnouncedKey = {
  version: 7,
  keyId: keyId(['vault', 'transit', 'k'], { version: 7, createdAt: 1 }),
  description: {
    path: ['vault', 'transit', 'k'],
    versions: [{ version: 7, createdAt: 1 }],
    current: { version: 7, createdAt: 1 },
    minDecryptionVersion: 1,
    facts: { type: 'aes256-gcm96', deletable: false, exportable: false },
  },
};

function made(): LocalKek {
  return localKek({ plaintext: Buffer.from(KEK), ciphertext: WRAPPED }, announced, 1_000);
}

const decrypted = (ciphertext: Uint8Array, wrapped: Uint8Array = WRAPPED, kek: Uint8Array = KEK) =>
  decryptUnder(Buffer.from(kek), wrapped, ciphertext);

describe('a local KEK', () => {
  it('decrypts what it has encrypted, whatever that is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (plaintext) => {
        const { ciphertext, wrappedKek, version, keyId } = encryptUnder(made(), plaintext);
        assert.deepEqual({ version, keyId }, { version: 7, keyId: announced.keyId });
        assert.equal(versionUnderLocalKek(ciphertext), 7);
        const back = decrypted(ciphertext, wrappedKek);
        assert.ok(back.ok);
        assert.deepEqual(Buffer.from(back.value), Buffer.from(plaintext));
      }),
    );
  });

  it('never makes the same ciphertext twice', () => {
    const seeds = Array.from({ length: 100 }, () => encryptUnder(made(), Buffer.alloc(32)));
    const texts = seeds.map(({ ciphertext }) => Buffer.from(ciphertext).toString('latin1'));
    assert.equal(new Set(texts).size, texts.length);
  });

  it('fits into what kube-apiserver stores, for a seed of 32 bytes', () => {
    assert.ok(encryptUnder(made(), Buffer.alloc(32)).ciphertext.length < 128);
  });

  it('refuses a ciphertext in which any one byte was changed', () => {
    const { ciphertext } = encryptUnder(made(), Buffer.alloc(32, 1));
    const head = 'local-kek:v7:'.length;
    for (let at = head; at < ciphertext.length; at += 1) {
      const tampered = Buffer.from(ciphertext);
      tampered[at] = tampered[at] === 0x41 ? 0x42 : 0x41;
      if (tampered.equals(ciphertext)) continue;
      const back = decrypted(tampered);
      assert.ok(!back.ok && back.error.kind === 'invalid', `byte ${at}`);
    }
  });

  const { ciphertext } = encryptUnder(made(), Buffer.alloc(32, 1));
  const strangers: readonly [string, Parameters<typeof decrypted>][] = [
    ['another wrapped KEK beside it', [ciphertext, Buffer.from('vault:v7:YW5vdGhlcg==')]],
    ['another KEK', [ciphertext, WRAPPED, Buffer.alloc(32, 6)]],
    ['a KEK of another length', [ciphertext, WRAPPED, Buffer.alloc(16, 5)]],
    ['a KEK of no length', [ciphertext, WRAPPED, Buffer.alloc(0)]],
    ['a ciphertext that was cut', [ciphertext.subarray(0, 40)]],
    ['a ciphertext with nothing behind its head', [Buffer.from('local-kek:v7:')]],
  ];
  for (const [name, args] of strangers) {
    it(`refuses ${name}`, () => {
      const back = decrypted(...args);
      assert.ok(!back.ok && back.error.kind === 'invalid');
      assert.match(back.error.message, /local-kek\.trousseau\.io/);
    });
  }

  it('is not told apart from others by what is not its own', () => {
    for (const text of ['vault:v7:AAAA', 'local:v7:AAAA', 'local-kek:v0:AAAA', 'local-kek', ''])
      assert.equal(versionUnderLocalKek(Buffer.from(text)), undefined, text);
  });

  it('overwrites the bytes that it was made of and those that it was opened with', () => {
    const given = Buffer.from(KEK);
    localKek({ plaintext: given, ciphertext: WRAPPED }, announced, 0);
    assert.deepEqual(given, Buffer.alloc(32));
    const opened = Buffer.from(KEK);
    decryptUnder(opened, WRAPPED, ciphertext);
    assert.deepEqual(opened, Buffer.alloc(32));
  });
});
