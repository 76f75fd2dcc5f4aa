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

const SOURCES: readonly KekSource[] = [1, 2, 3].map((i) => ({
  ciphertext: Buffer.from(`vault:v7:c291cmNl${i}===`),
  seed: Buffer.alloc(32, i),
}));

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

type Stored = { readonly ciphertext: Uint8Array; readonly localKek: Uint8Array | undefined };

function encrypted(plaintext: Uint8Array, sources = SOURCES): Stored & { localKek: Uint8Array } {
  const { ciphertext, localKek } = encryptUnder(sources, announced, plaintext);
  assert.ok(localKek !== undefined);
  return { ciphertext, localKek };
}

/** Decrypts with what is stored and the seed of one source. */
function decrypted(
  { ciphertext, localKek }: Stored,
  at = 0,
  seed = SOURCES[at]?.seed,
): Result<Uint8Array> {
  const parsed = parseUnderLocalKek(ciphertext, localKek);
  if (!parsed.ok) return parsed;
  const wrapped = parsed.value.wrapped[at];
  if (wrapped === undefined || seed === undefined) return fail('internal', 'no such source');
  return decryptUnder(parsed.value, wrapped, Buffer.from(seed));
}

function refusal(result: Result<unknown>): string {
  assert.ok(!result.ok);
  assert.equal(result.error.kind, 'invalid');
  return result.error.message;
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

describe('a seed under a local KEK', () => {
  it('is decrypted with each of its sources, whatever it is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (plaintext) => {
        const made = encryptUnder(SOURCES, announced, plaintext);
        assert.deepEqual([made.version, made.keyId], [7, announced.keyId]);
        assert.equal(versionUnderLocalKek(made.ciphertext), 7);
        for (const at of SOURCES.keys()) {
          const back = decrypted({ ciphertext: made.ciphertext, localKek: made.localKek }, at);
          assert.ok(back.ok);
          assert.deepEqual(Buffer.from(back.value), Buffer.from(plaintext));
        }
      }),
    );
  });

  it('names its sources as the provider has encrypted them', () => {
    const { ciphertext, localKek } = encrypted(Buffer.alloc(32));
    const parsed = parseUnderLocalKek(ciphertext, localKek);
    assert.ok(parsed.ok);
    assert.deepEqual(
      parsed.value.wrapped.map(({ source }) => source),
      SOURCES.map((source) => source.ciphertext),
    );
  });

  it('has another ciphertext and annotation each time', () => {
    const made = Array.from({ length: 100 }, () => encrypted(Buffer.alloc(32)));
    assert.equal(new Set(made.map(({ ciphertext }) => latin1(ciphertext))).size, made.length);
    assert.equal(new Set(made.map(({ localKek }) => latin1(localKek))).size, made.length);
  });

  it('fits into what kube-apiserver stores', () => {
    const { ciphertext, localKek } = encrypted(Buffer.alloc(32));
    assert.ok(ciphertext.length < 128);
    assert.ok(localKek.length < 512);
  });

  for (const part of ['ciphertext', 'localKek'] as const) {
    it(`is refused where any one byte of its ${part} was changed`, () => {
      const made = encrypted(Buffer.alloc(32, 1), SOURCES.slice(0, 1));
      const whole = Buffer.from(made[part]);
      let changed = 0;
      for (let at = 0; at < whole.length; at += 1) {
        for (const byte of [0x20, 0x31, 0x41]) {
          const tampered = Buffer.from(whole);
          tampered[at] = byte;
          if (tampered.equals(whole)) continue;
          changed += 1;
          refusal(decrypted({ ...made, [part]: tampered }));
        }
      }
      assert.ok(changed > whole.length);
    });
  }

  const made = encrypted(Buffer.alloc(32, 1));
  const lines = latin1(made.localKek);
  const other = encrypted(Buffer.alloc(32, 2)).localKek;
  const v8 = Buffer.from(latin1(made.ciphertext).replace('v7', 'v8'), 'latin1');
  const many = Buffer.from(Array(2_000).fill('a QUJD').join('\n'));
  const wrong: readonly [string, Stored, RegExp][] = [
    ['without its annotation', { ...made, localKek: undefined }, /trousseau\.io that holds it/],
    ['with the annotation of another one', { ...made, localKek: other }, /do not belong/],
    ['with an empty annotation', { ...made, localKek: Buffer.alloc(0) }, /do not belong/],
    ['with a cut one', { ...made, localKek: made.localKek.subarray(0, -1) }, /do not belong/],
    ['with a line too many', { ...made, localKek: Buffer.from(`${lines}\nx`) }, /do not belong/],
    ['with thousands of lines', { ...made, localKek: many }, /do not belong/],
    ['with another head', { ...made, ciphertext: v8 }, /do not belong/],
    ['cut', { ...made, ciphertext: made.ciphertext.subarray(0, 31) }, /do not belong|was cut/],
    ['with only a head', { ...made, ciphertext: Buffer.from('local-kek:v7:') }, /was cut/],
  ];
  for (const [name, stored, message] of wrong) {
    it(`is refused ${name}`, () => assert.match(refusal(decrypted(stored)), message));
  }

  it('is refused with the seed of another source, or of none', () => {
    for (const seed of [Buffer.alloc(32, 2), Buffer.alloc(32, 9), Buffer.alloc(0)])
      refusal(decrypted(made, 0, seed));
  });

  it('is not taken for one by what is not its own', () => {
    for (const text of ['vault:v7:AAAA', 'local:v7:AAAA', 'local-kek:v0:AAAA', 'local-kek', ''])
      assert.equal(versionUnderLocalKek(Buffer.from(text)), undefined, text);
  });

  it('is opened with a copy of a seed that is overwritten afterwards', () => {
    const parsed = parseUnderLocalKek(made.ciphertext, made.localKek);
    assert.ok(parsed.ok);
    const [wrapped] = parsed.value.wrapped;
    assert.ok(wrapped !== undefined);
    const seed = Buffer.alloc(32, 1);
    assert.ok(decryptUnder(parsed.value, wrapped, seed).ok);
    assert.deepEqual(seed, Buffer.alloc(32));
  });

  it('has for its source what can stand in a line and is as long as a seed of kube-apiserver', () => {
    const ciphertext = Buffer.from('vault:v1:QUJD');
    assert.equal(canBeSource({ ciphertext, seed: Buffer.alloc(32) }), true);
    assert.equal(canBeSource({ ciphertext, seed: Buffer.alloc(31) }), false);
    for (const text of ['vault:v1:QU JD', 'vault:v1:QU\nJD', 'vault:v1:\u00e9'])
      assert.equal(canBeSource({ ciphertext: Buffer.from(text), seed: Buffer.alloc(32) }), false);
  });
});
