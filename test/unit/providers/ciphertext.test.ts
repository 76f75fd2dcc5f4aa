import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ciphertextForm } from '../../../src/providers/ciphertext.ts';

const form = ciphertextForm('vault');
const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const write = (version: number, bytes: Uint8Array): string =>
  `vault:v${version}:${Buffer.from(bytes).toString('base64')}`;

const versions = fc.integer({ min: 1, max: 999_999_999 });
const contents = fc.uint8Array({ minLength: 1, maxLength: 200 });
/** Versions up to 99, so that a mutation has a chance of making another good one. */
const small = fc.integer({ min: 1, max: 99 });

describe('a whole ciphertext', () => {
  it('is read as what was written, whatever its version and its bytes are', () => {
    fc.assert(
      fc.property(versions, contents, (version, bytes) => {
        const text = write(version, bytes);
        assert.equal(form.versionOf(ascii(text)), version);
        const parsed = form.parse(ascii(text));
        assert.deepEqual(parsed, {
          version,
          base64: Buffer.from(bytes).toString('base64'),
          bytes: bytes.length,
        });
        assert.deepEqual(Buffer.from(parsed?.base64 ?? '', 'base64'), Buffer.from(bytes));
      }),
    );
  });

  it('is read the same where it lies in the middle of a larger buffer', () => {
    fc.assert(
      fc.property(versions, contents, contents, (version, bytes, around) => {
        const text = ascii(write(version, bytes));
        const large = Buffer.concat([around, text, around]);
        const view = new Uint8Array(large.buffer, large.byteOffset + around.length, text.length);
        assert.deepEqual(form.parse(view), form.parse(text));
        assert.notEqual(form.parse(view), undefined);
      }),
    );
  });
});

describe('what is no ciphertext of this kind', () => {
  it('has one spelling only: whatever is parsed is written back byte for byte', () => {
    const almost = fc
      .tuple(small, contents, fc.nat(), fc.integer({ min: 0, max: 255 }))
      .map(([version, bytes, at, byte]) => {
        const mutated = Buffer.from(write(version, bytes), 'latin1');
        mutated[at % mutated.length] = byte;
        return mutated;
      });
    fc.assert(
      fc.property(almost, (mutated) => {
        const parsed = form.parse(mutated);
        if (parsed === undefined) return;
        const decoded = Buffer.from(parsed.base64, 'base64');
        assert.equal(write(parsed.version, decoded), mutated.toString('latin1'));
        assert.equal(parsed.bytes, decoded.length);
      }),
      { numRuns: 1_000 },
    );
  });

  it('is refused where any byte of the prefix is another', () => {
    const prefix = 'vault:v'.length;
    fc.assert(
      fc.property(
        small,
        contents,
        fc.nat({ max: prefix - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (version, bytes, at, flip) => {
          const mutated = Buffer.from(write(version, bytes), 'latin1');
          mutated[at] = (mutated[at] ?? 0) ^ flip;
          assert.equal(form.versionOf(mutated), undefined);
          assert.equal(form.parse(mutated), undefined);
        },
      ),
    );
  });

  it('is refused where it was cut within its head, and never said to be longer than it is', () => {
    fc.assert(
      fc.property(small, contents, fc.nat(), (version, bytes, at) => {
        const text = write(version, bytes);
        const cut = text.slice(0, at % text.length);
        const head = text.lastIndexOf(':') + 1;
        const parsed = form.parse(ascii(cut));
        if (cut.length <= head) assert.equal(parsed, undefined);
        else assert.ok(parsed === undefined || parsed.bytes < bytes.length);
      }),
    );
  });

  it('never makes the parser throw, and both readings agree on the version', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.string({ unit: 'binary' }).map((tail) => ascii(`vault:v${tail}`)),
      fc.string({ unit: 'binary' }).map((tail) => ascii(`vault:v1:${tail}`)),
    );
    fc.assert(
      fc.property(anything, (bytes) => {
        const parsed = form.parse(bytes);
        if (parsed !== undefined) assert.equal(form.versionOf(bytes), parsed.version);
      }),
      { numRuns: 1_000 },
    );
  });

  const refused: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['the prefix alone', 'vault:v'],
    ['no version', 'vault:v:AAAA'],
    ['version 0', 'vault:v0:AAAA'],
    ['a leading zero', 'vault:v01:AAAA'],
    ['a sign', 'vault:v+1:AAAA'],
    ['a negative version', 'vault:v-1:AAAA'],
    ['a fraction', 'vault:v1.0:AAAA'],
    ['an exponent', 'vault:v1e3:AAAA'],
    ['a version of ten digits', 'vault:v1234567890:AAAA'],
    ['a blank before it', ' vault:v1:AAAA'],
    ['another case', 'Vault:v1:AAAA'],
    ['another kind', 'local:v1:AAAA'],
  ];
  for (const [what, text] of refused) {
    it(`${what} names no version: ${text}`, () => {
      assert.equal(form.versionOf(ascii(text)), undefined);
      assert.equal(form.parse(ascii(text)), undefined);
    });
  }

  const damaged: readonly (readonly [string, string])[] = [
    ['is empty', ''],
    ['was cut', 'AAA'],
    ['lacks its padding', 'AA'],
    ['has padding too much', 'AAAA===='],
    ['has padding in the middle', 'AA==AAAA'],
    ['has bits behind its last byte', 'AB=='],
    ['has bits behind its last two bytes', 'AAB='],
    ['ends in a line feed', 'AAAA\n'],
    ['is of the alphabet for URLs', 'AA-_'],
    ['has a part too many, as of a derived key', 'AAAA:AAAA'],
  ];
  for (const [what, base64] of damaged) {
    it(`what ${what} still shows its version, but is not whole`, () => {
      assert.equal(form.versionOf(ascii(`vault:v7:${base64}`)), 7);
      assert.equal(form.parse(ascii(`vault:v7:${base64}`)), undefined);
    });
  }

  it('that of another kind is read by its own form only', () => {
    const local = ciphertextForm('local');
    assert.equal(local.versionOf(ascii('local:v3:AAAA')), 3);
    assert.equal(local.versionOf(ascii('vault:v3:AAAA')), undefined);
  });
});
