import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  type Keyring,
  newKeyring,
  parse,
  rotated,
  serialise,
} from '../../../src/providers/local/keyring-file.ts';
import type { SealSecret } from '../../../src/providers/local/seal.ts';
import { keyringOf, MADE_AT, problemOf } from './fixtures.ts';

const KEY: SealSecret = { kind: 'key', bytes: Buffer.alloc(32, 7) };

const keyrings: fc.Arbitrary<Keyring> = fc
  .record({
    id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    versions: fc.uniqueArray(fc.integer({ min: 1, max: 999_999_999 }), {
      minLength: 1,
      maxLength: 20,
    }),
    current: fc.nat(),
    createdAt: fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) }),
    key: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  })
  .map(({ id, versions, current, createdAt, key }) => ({
    id: Buffer.from(id).toString('hex'),
    current: versions[current % versions.length] ?? 1,
    keys: versions
      .sort((a, b) => a - b)
      .map((version) => ({ version, createdAt, key: createSecretKey(key) })),
  }));

/** Keys as bytes, so that keyrings can be compared. */
function plain({ id, current, keys }: Keyring): object {
  return {
    id,
    current,
    keys: keys.map(({ key, ...more }) => ({ ...more, key: key.export().toString('hex') })),
  };
}

describe('a keyring file', () => {
  for (const [name, secret] of [
    ['in clear', undefined],
    ['sealed', KEY],
  ] as const) {
    it(`reads as what was written, ${name}`, async () => {
      await fc.assert(
        fc.asyncProperty(keyrings, async (keyring) => {
          const read = await parse(await serialise(keyring, secret), secret);
          assert.deepEqual(plain(keyringOf(read)), plain(keyring));
        }),
      );
    });
  }

  it('sealed shows no key, neither in hexadecimal nor in base64', async () => {
    const keyring = newKeyring(MADE_AT);
    const text = await serialise(keyring, KEY);
    for (const form of ['hex', 'base64'] as const) {
      for (const { key } of keyring.keys)
        assert.equal(text.includes(key.export().toString(form)), false);
    }
  });

  it('in any order of its versions is ascending when read', async () => {
    const json = await fileOf(rotated(rotated(newKeyring(MADE_AT), MADE_AT), MADE_AT));
    const turned = { ...json, keys: json.keys.toReversed() };
    const { keys } = keyringOf(await parse(JSON.stringify(turned), undefined));
    assert.deepEqual(
      keys.map(({ version }) => version),
      [1, 2, 3],
    );
  });
});

describe('a rotation', () => {
  it('keeps every older version and its key, and encrypts with the new one', () => {
    fc.assert(
      fc.property(keyrings, (keyring) => {
        const after = rotated(keyring, MADE_AT);
        assert.deepEqual(after.keys.slice(0, -1), keyring.keys);
        assert.equal(after.id, keyring.id);
        assert.equal(after.current, Math.max(...keyring.keys.map(({ version }) => version)) + 1);
        assert.equal(after.keys.at(-1)?.version, after.current);
      }),
    );
  });

  it('makes keys that are all different', () => {
    let keyring = newKeyring(MADE_AT);
    for (let i = 0; i < 50; i += 1) keyring = rotated(keyring, MADE_AT);
    assert.equal(new Set(keyring.keys.map(({ key }) => key.export().toString('hex'))).size, 51);
  });
});

type KeyringJson = Readonly<Record<string, unknown>> & { readonly keys: readonly object[] };

async function fileOf(keyring: Keyring): Promise<KeyringJson> {
  return JSON.parse(await serialise(keyring, undefined)) as KeyringJson;
}

describe('a bad keyring file', () => {
  const NOT_OURS = /it is not a keyring of this version of trousseau/;
  const entry = {
    version: 1,
    createdAt: '2026-01-01T00:00:00.000Z',
    key: Buffer.alloc(32).toString('base64'),
  };
  const with1 = (change: object) => (json: KeyringJson) => ({
    ...json,
    keys: [{ ...entry, ...change }],
  });
  for (const [what, change, problem] of [
    ['of another kind', (json) => ({ ...json, kind: 'keyring' }), NOT_OURS],
    ['of another format', (json) => ({ ...json, version: 2 }), NOT_OURS],
    ['with a field too many', (json) => ({ ...json, more: 1 }), NOT_OURS],
    ['with a field too many in a key', with1({ more: 1 }), NOT_OURS],
    ['without an id', ({ id: _, ...json }) => json, NOT_OURS],
    ['with a short id', (json) => ({ ...json, id: 'abc' }), NOT_OURS],
    ['without keys', ({ keys: _, ...json }) => json, NOT_OURS],
    ['with no key', (json) => ({ ...json, keys: [] }), NOT_OURS],
    ['with a version that is text', with1({ version: '1' }), NOT_OURS],
    ['with version 0', with1({ version: 0 }), NOT_OURS],
    ['with version 1.5', with1({ version: 1.5 }), NOT_OURS],
    ['with a version that no ciphertext has room for', with1({ version: 1e9 }), NOT_OURS],
    ['with a date that is none', with1({ createdAt: 'yesterday' }), NOT_OURS],
    ['with the date of no day', with1({ createdAt: '2026-01-01T24:61:00.000Z' }), NOT_OURS],
    [
      'with a date that JavaScript does not read',
      with1({ createdAt: '2026-01-01T00:00:00+00' }),
      NOT_OURS,
    ],
    ['with a key that is no base64', with1({ key: '***' }), NOT_OURS],
    ['with a short key', with1({ key: 'AAAA' }), /version 1 in it has no key of 32 bytes/],
    ['with a version twice', (json) => ({ ...json, keys: [entry, entry] }), /a version twice/],
    [
      'whose current version is missing',
      (json) => ({ ...json, current: 9 }),
      /its current version 9 is not in it/,
    ],
    ['that is a list', () => [], NOT_OURS],
    ['that is null', () => null, NOT_OURS],
  ] as const satisfies readonly (readonly [string, (json: KeyringJson) => unknown, RegExp])[]) {
    it(`${what} is refused with a sentence`, async () => {
      const json = await fileOf(newKeyring(MADE_AT));
      const text = JSON.stringify(change(json));
      const said = problemOf(await parse(text, undefined));
      assert.match(said, problem);
      assert.equal(said.includes(entry.key), false);
    });
  }

  it('that was cut anywhere is refused, and never read as a smaller keyring', async () => {
    const text = (await serialise(rotated(newKeyring(MADE_AT), MADE_AT), undefined)).trimEnd();
    for (let at = 0; at < text.length; at += 1) {
      assert.match(
        problemOf(await parse(text.slice(0, at), undefined)),
        /it is not JSON: it was cut or damaged, or is no keyring; restore the keyring from a copy/,
      );
    }
  });

  it('of any text gives a problem or a keyring, and never throws', async () => {
    const values = fc.oneof(fc.string(), fc.json(), fc.constant('1'.repeat(1 << 20)));
    await fc.assert(
      fc.asyncProperty(values, async (text) => {
        assert.notEqual(problemOf(await parse(text, undefined)), '');
        assert.notEqual(problemOf(await parse(text, KEY)), '');
      }),
    );
  });

  it('says whether a secret is missing, needless or wrong', async () => {
    const keyring = newKeyring(MADE_AT);
    const clear = await serialise(keyring, undefined);
    const sealed = await serialise(keyring, KEY);
    const wrong: SealSecret = { kind: 'key', bytes: Buffer.alloc(32, 8) };
    assert.match(problemOf(await parse(clear, KEY)), /not sealed, but a passphrase or sealing key/);
    assert.match(problemOf(await parse(sealed, undefined)), /sealed under a key: name the file/);
    assert.match(problemOf(await parse(sealed, wrong)), /does not open it, or it was changed/);
  });

  for (const field of ['id', 'current'] as const) {
    it(`sealed, whose ${field} was changed, does not open`, async () => {
      const text = await serialise(rotated(newKeyring(MADE_AT), MADE_AT), KEY);
      const json = JSON.parse(text) as Record<string, unknown>;
      const other = { ...json, [field]: field === 'id' ? 'f'.repeat(32) : 1 };
      assert.match(
        problemOf(await parse(JSON.stringify(other), KEY)),
        /does not open it, or it was changed/,
      );
    });
  }
});
