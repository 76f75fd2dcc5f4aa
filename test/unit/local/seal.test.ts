import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type Seal,
  type SealSecret,
  seal,
  sealKey,
  unseal,
} from '../../../src/providers/local/seal.ts';

const CONTENT = Buffer.from('the keys of a cluster');
const HEADER = '["trousseau-keyring",1,"id",1]';
const PASSPHRASE: SealSecret = { kind: 'passphrase', bytes: Buffer.from('correct horse battery') };
const KEY: SealSecret = { kind: 'key', bytes: Buffer.alloc(32, 7) };

const SECRETS = [
  {
    name: 'a passphrase',
    secret: PASSPHRASE,
    wrong: { ...PASSPHRASE, bytes: Buffer.from('correct horse') },
  },
  { name: 'a key', secret: KEY, wrong: { ...KEY, bytes: Buffer.alloc(32, 8) } },
] as const;

describe('a sealed keyring', () => {
  for (const { name, secret, wrong } of SECRETS) {
    it(`opens with ${name}, and with no other`, async () => {
      const { seal: made, sealed } = await seal(CONTENT, secret, HEADER);
      assert.deepEqual(await unseal(sealed, made, secret, HEADER), CONTENT);
      assert.equal(await unseal(sealed, made, wrong, HEADER), undefined);
    });

    it(`under ${name} is bound to its header`, async () => {
      const { seal: made, sealed } = await seal(CONTENT, secret, HEADER);
      assert.equal(await unseal(sealed, made, secret, HEADER.replace('id', 'iD')), undefined);
    });

    it(`under ${name} shows neither the content nor the secret`, async () => {
      const { seal: made, sealed } = await seal(CONTENT, secret, HEADER);
      const shown = Buffer.concat([sealed, Buffer.from(JSON.stringify(made))]);
      assert.equal(shown.includes(CONTENT), false);
      assert.equal(shown.includes(secret.bytes), false);
      assert.equal(shown.includes(secret.bytes.toString('base64')), false);
    });

    it(`under ${name} is another one each time`, async () => {
      const [first, second] = [
        await seal(CONTENT, secret, HEADER),
        await seal(CONTENT, secret, HEADER),
      ];
      assert.notDeepEqual(first.seal, second.seal);
      assert.notDeepEqual(first.sealed, second.sealed);
    });
  }

  it('opens with the key alone, not with a passphrase of the same bytes, and the other way round', async () => {
    const underKey = await seal(CONTENT, KEY, HEADER);
    const asPassphrase: SealSecret = { kind: 'passphrase', bytes: KEY.bytes };
    assert.equal(await unseal(underKey.sealed, underKey.seal, asPassphrase, HEADER), undefined);
    const underPassphrase = await seal(CONTENT, asPassphrase, HEADER);
    assert.equal(
      await unseal(underPassphrase.sealed, underPassphrase.seal, KEY, HEADER),
      undefined,
    );
  });

  it('opens to nothing when any bit of it or of its nonce is flipped, or when it was cut', async () => {
    const { seal: made, sealed } = await seal(CONTENT, KEY, HEADER);
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length * 8 - 1), fc.nat(12 * 8 - 1), async (bit, nonceBit) => {
        const flipped = flip(sealed, bit);
        const nonce = flip(Buffer.from(made.nonce, 'base64'), nonceBit).toString('base64');
        assert.equal(await unseal(flipped, made, KEY, HEADER), undefined);
        assert.equal(await unseal(sealed, { ...made, nonce }, KEY, HEADER), undefined);
        assert.equal(await unseal(sealed.subarray(0, bit >> 3), made, KEY, HEADER), undefined);
      }),
    );
  });

  it('takes RFC 7914 scrypt with the parameters that stand in the file', async () => {
    const { seal: made } = await seal(CONTENT, PASSPHRASE, HEADER);
    assert.ok(made.kind === 'passphrase');
    assert.equal(made.logN, 16);
    assert.equal(Buffer.from(made.salt, 'base64').length, 16);
  });

  for (const logN of [0, 9, 19, 31, 64, 16.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    it(`refuses the work factor 2^${logN}, which would be a way to use up the memory`, async () => {
      const made: Seal = { kind: 'passphrase', nonce: nonce(), salt: nonce(), logN };
      await assert.rejects(unseal(Buffer.alloc(64), made, PASSPHRASE, HEADER), /out of bounds/);
    });
  }
});

describe('a sealing key', () => {
  const bytes = Buffer.alloc(32, 0xab);
  for (const [form, text] of [
    ['raw', bytes],
    ['in hexadecimal', Buffer.from(bytes.toString('hex'))],
    ['in hexadecimal with a line feed', Buffer.from(`${bytes.toString('hex').toUpperCase()}\n`)],
    ['in base64', Buffer.from(bytes.toString('base64'))],
    ['in base64 with a line feed', Buffer.from(`${bytes.toString('base64')}\n`)],
  ] as const) {
    it(`is 32 bytes, ${form}`, () => assert.deepEqual(sealKey(text), bytes));
  }

  for (const [what, wrong] of [
    ['nothing', ''],
    ['31 bytes', 'k'.repeat(31)],
    ['33 bytes', 'k'.repeat(33)],
    ['31 bytes in base64', Buffer.alloc(31, 0xab).toString('base64')],
    ['31 bytes in hexadecimal', 'ab'.repeat(31)],
    ['a sentence', 'this is not a key, it is a planted-secret of a person'],
  ] as const) {
    it(`is not ${what}`, () => assert.equal(sealKey(Buffer.from(wrong)), undefined));
  }
});

function flip(bytes: Buffer, bit: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return changed;
}

function nonce(): string {
  return randomBytes(12).toString('base64');
}
