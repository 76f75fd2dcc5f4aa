import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { keyId } from '../../../src/keyring/key-id.ts';
import {
  canBeSource,
  decryptUnder,
  encryptUnder,
  type KekSource,
  parseUnderLocalKek,
  versionUnderLocalKek,
} from '../../../src/keyring/local-kek.ts';
import type { AnnouncedKey } from '../../../src/keyring/state.ts';
import { fail, type Result } from '../../../src/providers/errors.ts';

const SOURCE = Buffer.from('vault:v7:ZWFybGllcg==');
const SEED = Buffer.alloc(32, 5);

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

const source = (): KekSource => ({ ciphertext: SOURCE, seed: Buffer.from(SEED) });
const encrypted = (plaintext: Uint8Array) => encryptUnder(source(), announced, plaintext);

function decrypted(ciphertext: Uint8Array, from = source()): Result<Uint8Array> {
  const parsed = parseUnderLocalKek(ciphertext);
  return parsed === undefined ? fail('invalid', 'cannot be whole') : decryptUnder(from, parsed);
}

describe('a seed under a local KEK', () => {
  it('is decrypted to what was encrypted, whatever that is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (plaintext) => {
        const { ciphertext, kekSource, version, keyId } = encrypted(plaintext);
        assert.deepEqual({ version, keyId }, { version: 7, keyId: announced.keyId });
        assert.deepEqual(kekSource, SOURCE);
        assert.equal(versionUnderLocalKek(ciphertext), 7);
        const back = decrypted(ciphertext);
        assert.ok(back.ok);
        assert.deepEqual(Buffer.from(back.value), Buffer.from(plaintext));
      }),
    );
  });

  it('has another ciphertext each time', () => {
    const texts = Array.from({ length: 100 }, () =>
      Buffer.from(encrypted(Buffer.alloc(32)).ciphertext).toString('latin1'),
    );
    assert.equal(new Set(texts).size, texts.length);
  });

  it('fits into what kube-apiserver stores', () => {
    assert.ok(encrypted(Buffer.alloc(32)).ciphertext.length < 128);
  });

  it('is refused where any one byte of its ciphertext was changed', () => {
    const { ciphertext } = encrypted(Buffer.alloc(32, 1));
    let changed = 0;
    for (let at = 0; at < ciphertext.length; at += 1) {
      for (const byte of [0x31, 0x41]) {
        const tampered = Buffer.from(ciphertext);
        tampered[at] = byte;
        if (tampered.equals(ciphertext)) continue;
        changed += 1;
        const back = decrypted(tampered);
        assert.ok(!back.ok && back.error.kind === 'invalid', `byte ${at}`);
      }
    }
    assert.ok(changed > ciphertext.length);
  });

  const { ciphertext } = encrypted(Buffer.alloc(32, 1));
  const strangers: readonly [string, KekSource][] = [
    ['another source', { ciphertext: Buffer.from('vault:v7:YW5vdGhlcg=='), seed: SEED }],
    ['another seed', { ciphertext: SOURCE, seed: Buffer.alloc(32, 6) }],
    [
      'a seed that is too short to derive a key from',
      { ciphertext: SOURCE, seed: SEED.subarray(1) },
    ],
    ['an empty seed', { ciphertext: SOURCE, seed: Buffer.alloc(0) }],
  ];
  for (const [name, from] of strangers) {
    it(`is refused with ${name}, and it is said which annotation may be wrong`, () => {
      const back = decrypted(ciphertext, { ...from, seed: Buffer.from(from.seed) });
      assert.ok(!back.ok && back.error.kind === 'invalid');
      assert.match(back.error.message, /kek-source\.trousseau\.io/);
    });
  }

  it('is refused before anybody is asked where it cannot be whole', () => {
    for (const text of ['local-kek:v7:', 'local-kek:v7:A', 'local-kek:v7:A===', 'local-kek:v7'])
      assert.equal(parseUnderLocalKek(Buffer.from(text)), undefined, text);
    const cut = decrypted(ciphertext.subarray(0, 32));
    assert.equal(cut.ok, false);
  });

  it('is not taken for one by what is not its own', () => {
    for (const text of ['vault:v7:AAAA', 'local:v7:AAAA', 'local-kek:v0:AAAA', 'local-kek', ''])
      assert.equal(versionUnderLocalKek(Buffer.from(text)), undefined, text);
  });

  it('is opened with a copy of its source that is overwritten afterwards', () => {
    const from = source();
    assert.ok(decrypted(ciphertext, from).ok);
    assert.deepEqual(from.seed, Buffer.alloc(32));
  });

  it('asks for a source of 32 bytes, as kube-apiserver makes its seeds', () => {
    assert.equal(canBeSource(Buffer.alloc(31)), false);
    assert.equal(canBeSource(Buffer.alloc(32)), true);
  });
});
