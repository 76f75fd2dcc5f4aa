import assert from 'node:assert/strict';
import { createSecretKey, type KeyObject } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Binding, decrypt, encrypt, parse } from '../../../src/providers/local/cipher.ts';
import { gcmTag } from './gcm-reference.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

/**
 * McGrew and Viega, 'The Galois/Counter Mode of Operation (GCM)', the specification that NIST
 * published; appendix B, test cases 14 to 16.
 */
const LONG_KEY = 'feffe9928665731c6d6a8f9467308308 feffe9928665731c6d6a8f9467308308';
const LONG_NONCE = 'cafebabefacedbaddecaf888';
const VECTORS = [
  {
    name: 'test case 14',
    key: '00'.repeat(32),
    nonce: '00'.repeat(12),
    additional: '',
    plaintext: '00'.repeat(16),
    ciphertext: 'cea7403d4d606b6e074ec5d3baf39d18',
    tag: 'd0d1c8a799996bf0265b98b5d48ab919',
  },
  {
    name: 'test case 15',
    key: LONG_KEY,
    nonce: LONG_NONCE,
    additional: '',
    plaintext:
      'd9313225f88406e5a55909c5aff5269a 86a7a9531534f7da2e4c303d8a318a72 1c3c0c95956809532fcf0e2449a6b525 b16aedf5aa0de657ba637b391aafd255',
    ciphertext:
      '522dc1f099567d07f47f37a32a84427d 643a8cdcbfe5c0c97598a2bd2555d1aa 8cb08e48590dbb3da7b08b1056828838 c5f61e6393ba7a0abcc9f662898015ad',
    tag: 'b094dac5d93471bdec1a502270e3cc6c',
  },
  {
    name: 'test case 16',
    key: LONG_KEY,
    nonce: LONG_NONCE,
    additional: 'feedfacedeadbeeffeedfacedeadbeef abaddad2',
    plaintext:
      'd9313225f88406e5a55909c5aff5269a 86a7a9531534f7da2e4c303d8a318a72 1c3c0c95956809532fcf0e2449a6b525 b16aedf5aa0de657ba637b39',
    ciphertext:
      '522dc1f099567d07f47f37a32a84427d 643a8cdcbfe5c0c97598a2bd2555d1aa 8cb08e48590dbb3da7b08b1056828838 c5f61e6393ba7a0abcc9f662',
    tag: '76fc6ece0f4e1768cddf8853bb2d551b',
  },
] as const;

const BINDING: Binding = { keyringId: '00112233445566778899aabbccddeeff', version: 7 };
const KEY = createSecretKey(hex('01'.repeat(32)));

/** Opens as the provider does, with the version that the ciphertext names. */
function open(ciphertext: Uint8Array, key: KeyObject = KEY, keyringId = BINDING.keyringId) {
  const parsed = parse(ciphertext);
  if (parsed === undefined) return undefined;
  return decrypt(parsed.sealed, key, { keyringId, version: parsed.version });
}

const plaintexts = fc.uint8Array({ minLength: 1, maxLength: 200 });

describe('AES-256-GCM', () => {
  for (const vector of VECTORS) {
    it(`gives the bytes of ${vector.name} of the specification`, () => {
      const key = hex(vector.key);
      const nonce = hex(vector.nonce);
      const made = encrypt(hex(vector.plaintext), createSecretKey(key), BINDING, nonce);
      const sealed = Buffer.from(made.toString('latin1').replace('local:v7:', ''), 'base64');
      const ciphertext = hex(vector.ciphertext);
      assert.deepEqual(sealed.subarray(0, 12), nonce);
      assert.deepEqual(sealed.subarray(12, -16), ciphertext);
      // The vectors have additional data of their own: their tag proves the reference, and the
      // reference our tag.
      assert.deepEqual(gcmTag(key, nonce, hex(vector.additional), ciphertext), hex(vector.tag));
      const bound = Buffer.from('00112233445566778899aabbccddeeff:7');
      assert.deepEqual(sealed.subarray(-16), gcmTag(key, nonce, bound, ciphertext));
    });
  }

  it('opens what it sealed', () => {
    fc.assert(
      fc.property(plaintexts, fc.integer({ min: 1, max: 999_999_999 }), (plaintext, version) => {
        const made = encrypt(plaintext, KEY, { ...BINDING, version });
        assert.equal(parse(made)?.version, version);
        assert.deepEqual(open(made), Buffer.from(plaintext));
      }),
    );
  });

  it('never seals to the same bytes twice', () => {
    const made = Array.from({ length: 1_000 }, () => encrypt(Buffer.alloc(32), KEY, BINDING));
    assert.equal(new Set(made.map(String)).size, made.length);
  });
});

describe('a ciphertext of the local keyring', () => {
  it('opens to nothing when any one bit of it is flipped', () => {
    fc.assert(
      fc.property(plaintexts, fc.nat(), (plaintext, where) => {
        const made = encrypt(plaintext, KEY, BINDING);
        const bit = where % (made.length * 8);
        made[bit >> 3] = (made[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        assert.equal(open(made), undefined);
      }),
      { numRuns: 2_000 },
    );
  });

  it('opens to nothing when it was cut at either end, or grew', () => {
    fc.assert(
      fc.property(plaintexts, fc.nat(), fc.string({ minLength: 1 }), (plaintext, where, more) => {
        const made = encrypt(plaintext, KEY, BINDING);
        const at = where % made.length;
        assert.equal(open(made.subarray(0, at)), undefined);
        assert.equal(open(made.subarray(at + 1)), undefined);
        assert.equal(open(Buffer.concat([made, Buffer.from(more)])), undefined);
      }),
    );
  });

  it('opens to nothing when bytes of it were replaced by others', () => {
    fc.assert(
      fc.property(plaintexts, fc.uint8Array({ minLength: 1 }), fc.nat(), (plaintext, bytes, at) => {
        const made = encrypt(plaintext, KEY, BINDING);
        const changed = Buffer.from(made);
        changed.set(bytes.subarray(0, made.length - (at % made.length)), at % made.length);
        if (!changed.equals(made)) assert.equal(open(changed), undefined);
      }),
    );
  });

  for (const [what, change] of [
    ['another version', (text: string) => text.replace('v7', 'v8')],
    ['a longer version', (text: string) => text.replace('v7', 'v70')],
    ['a version with a leading zero', (text: string) => text.replace('v7', 'v07')],
    ['version 0', (text: string) => text.replace('v7', 'v0')],
    ['a negative version', (text: string) => text.replace('v7', 'v-7')],
    ['no version', (text: string) => text.replace('v7', 'v')],
    ["Vault's prefix", (text: string) => text.replace('local', 'vault')],
    ['capital letters', (text: string) => text.replace('local', 'LOCAL')],
    ['a space before it', (text: string) => ` ${text}`],
    ['a line feed behind it', (text: string) => `${text}\n`],
    ['base64url', (text: string) => text.replaceAll('+', '-').replaceAll('/', '_')],
    ['no padding', (text: string) => text.replace(/=+$/, '')],
    ['nothing in it', () => ''],
    ['nothing but its head', () => 'local:v7:'],
    ['less than a nonce and a tag', () => `local:v7:${Buffer.alloc(28).toString('base64')}`],
  ] as const) {
    it(`opens to nothing with ${what}`, () => {
      // A nonce of 0xfb bytes has + and / in its base64; 32 bytes of plaintext end in padding.
      const made = encrypt(Buffer.alloc(33), KEY, BINDING, Buffer.alloc(12, 0xfb));
      const text = made.toString('latin1');
      assert.notEqual(change(text), text);
      assert.equal(open(Buffer.from(change(text), 'latin1')), undefined);
    });
  }

  it('opens to nothing under another key, or in another keyring', () => {
    const made = encrypt(Buffer.from('seed'), KEY, BINDING);
    assert.equal(open(made, createSecretKey(Buffer.alloc(32, 2))), undefined);
    assert.equal(open(made, KEY, 'ff'.repeat(16)), undefined);
  });
});
