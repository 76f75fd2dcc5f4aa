import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { silentLog } from '../../../src/observe/log.ts';
import { createLocalProvider } from '../../../src/providers/local/local-provider.ts';
import {
  initKeyring,
  type KeyringPlace,
  rotateKeyring,
} from '../../../src/providers/local/store.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { emptyPlace, errorOf, goodOf, keyringOf, MADE_AT, madePlace } from './fixtures.ts';

const never = new AbortController().signal;
const SEED = Buffer.alloc(32, 0x5e);

function providerOf(place: KeyringPlace): Provider {
  return createLocalProvider('here', place, { log: silentLog, env: {} });
}

async function encryptOne(provider: Provider, plaintext = SEED, version = 1): Promise<Uint8Array> {
  return goodOf((await provider.encrypt([plaintext], version, never))[0]);
}

describe('describing a local keyring', () => {
  it('names the keyring by its id alone, its versions, and the one that encrypts', async (t) => {
    const place = emptyPlace(t);
    const { id } = keyringOf(await initKeyring(place, {}, MADE_AT));
    keyringOf(await rotateKeyring(place, {}, MADE_AT + 1_000));
    assert.deepEqual(goodOf(await providerOf(place).describe(never)), {
      path: ['local', id],
      versions: [
        { version: 1, createdAt: MADE_AT },
        { version: 2, createdAt: MADE_AT + 1_000 },
      ],
      current: { version: 2, createdAt: MADE_AT + 1_000 },
      minDecryptionVersion: 1,
      facts: { type: 'aes256-gcm', deletable: true, exportable: true },
    });
  });

  it('answers the same for a copy of the file at another place', async (t) => {
    const [place, copy] = [await madePlace(t), emptyPlace(t)];
    copyFileSync(place.keyringFile, copy.keyringFile);
    const described = await providerOf(place).describe(never);
    assert.deepEqual(await providerOf(copy).describe(never), described);
  });

  it('sees a rotation by another process', async (t) => {
    const place = await madePlace(t);
    const provider = providerOf(place);
    assert.equal(goodOf(await provider.describe(never)).current.version, 1);
    keyringOf(await rotateKeyring(place, {}, MADE_AT));
    assert.equal(goodOf(await provider.describe(never)).current.version, 2);
  });

  it('loses no version that is in memory to an old copy of the file', async (t) => {
    const [place, old] = [await madePlace(t), emptyPlace(t)];
    copyFileSync(place.keyringFile, old.keyringFile);
    keyringOf(await rotateKeyring(place, {}, MADE_AT));
    const provider = providerOf(place);
    assert.equal(goodOf(await provider.describe(never)).current.version, 2);
    const ciphertext = await encryptOne(provider, SEED, 2);
    renameSync(old.keyringFile, place.keyringFile);
    assert.equal(goodOf(await provider.describe(never)).current.version, 2);
    assert.deepEqual(goodOf((await provider.decrypt([ciphertext], never))[0]), SEED);
  });

  it('is denied while the file is missing, and good again when it is back', async (t) => {
    const place = await madePlace(t);
    const provider = providerOf(place);
    const described = goodOf(await provider.describe(never));
    renameSync(place.keyringFile, `${place.keyringFile}.away`);
    const { kind, message } = errorOf(await provider.describe(never));
    assert.equal(kind, 'denied');
    assert.match(message, /does not exist: make one with trousseau keyring init/);
    renameSync(`${place.keyringFile}.away`, place.keyringFile);
    assert.deepEqual(goodOf(await provider.describe(never)), described);
  });
});

describe('encrypting and decrypting with a local keyring', () => {
  it('answers each item in its place, an item that fails on its own', async (t) => {
    const provider = providerOf(await madePlace(t));
    const plaintexts = Array.from({ length: 50 }, (_, i) => randomBytes(i + 1));
    const ciphertexts = (await provider.encrypt(plaintexts, 1, never)).map((item) => goodOf(item));
    const damaged = new Map([
      [3, Buffer.from('local:v1:')],
      [17, Buffer.from('vault:v1:AAAA')],
      [31, Buffer.alloc(0)],
      [49, Buffer.from('local:v9:').fill('A', 9)],
    ]);
    const results = await provider.decrypt(
      ciphertexts.map((ciphertext, i) => damaged.get(i) ?? ciphertext),
      never,
    );
    assert.equal(results.length, plaintexts.length);
    for (const [i, result] of results.entries()) {
      if (damaged.has(i)) assert.equal(errorOf(result).kind, 'invalid');
      else assert.deepEqual(goodOf(result), plaintexts[i]);
    }
  });

  it('answers nothing to an empty batch', async (t) => {
    const provider = providerOf(await madePlace(t));
    assert.deepEqual(await provider.encrypt([], 1, never), []);
    assert.deepEqual(await provider.decrypt([], never), []);
  });

  it('encrypts under exactly the version that it is told, also an old one', async (t) => {
    const place = await madePlace(t);
    keyringOf(await rotateKeyring(place, {}, MADE_AT));
    const provider = providerOf(place);
    for (const version of [1, 2]) {
      const ciphertext = await encryptOne(provider, SEED, version);
      assert.equal(provider.versionOf(ciphertext), version);
      assert.deepEqual(goodOf((await provider.decrypt([ciphertext], never))[0]), SEED);
    }
    const { kind, message } = errorOf((await provider.encrypt([SEED], 3, never))[0]);
    assert.deepEqual([kind, message], ['invalid', 'the keyring has no version 3']);
  });

  it('decrypts what another node made after a rotation that it has not looked at yet', async (t) => {
    const place = await madePlace(t);
    const [here, there] = [providerOf(place), providerOf(place)];
    await encryptOne(here);
    keyringOf(await rotateKeyring(place, {}, MADE_AT));
    const ciphertext = await encryptOne(there, SEED, 2);
    assert.deepEqual(goodOf((await here.decrypt([ciphertext], never))[0]), SEED);
  });

  it('goes on with the keys in memory when the file is deleted or damaged', async (t) => {
    const place = await madePlace(t);
    const provider = providerOf(place);
    const before = await encryptOne(provider);
    for (const harm of [
      () => writeFileSync(place.keyringFile, '{', { mode: 0o600 }),
      () => rmSync(place.keyringFile),
    ]) {
      harm();
      errorOf(await provider.describe(never));
      const after = await encryptOne(provider);
      for (const result of await provider.decrypt([before, after], never))
        assert.deepEqual(goodOf(result), SEED);
    }
  });

  it('says why where there is no keyring, for each item alike', async (t) => {
    const provider = providerOf(emptyPlace(t));
    const encrypted = await provider.encrypt([SEED, SEED], 1, never);
    const decrypted = await provider.decrypt([Buffer.from('local:v1:AAAA'), SEED], never);
    assert.equal(encrypted.length + decrypted.length, 4);
    for (const result of [...encrypted, ...decrypted])
      assert.match(errorOf(result).message, /keyring .* does not exist: make one/);
  });

  it('says so where a ciphertext was made by another keyring', async (t) => {
    const ciphertext = await encryptOne(providerOf(await madePlace(t)));
    const other = providerOf(await madePlace(t));
    const { kind, message } = errorOf((await other.decrypt([ciphertext], never))[0]);
    assert.equal(kind, 'invalid');
    assert.match(message, /was damaged, or made by another keyring/);
  });

  it('answers invalid, never a plaintext, to every ciphertext with one flipped bit or cut', async (t) => {
    const provider = providerOf(await madePlace(t));
    const good = Buffer.from(await encryptOne(provider));
    const bad: Buffer[] = [];
    for (let bit = 0; bit < good.length * 8; bit += 1) {
      const flipped = Buffer.from(good);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      bad.push(flipped);
    }
    for (let at = 0; at < good.length; at += 1) bad.push(good.subarray(0, at));
    for (const result of await provider.decrypt(bad, never)) {
      const { kind, message } = errorOf(result);
      assert.equal(kind, 'invalid');
      assert.equal(message.includes(good.toString('latin1', 9, 40)), false);
    }
    assert.deepEqual(goodOf((await provider.decrypt([good], never))[0]), SEED);
  });

  it('keeps no process alive and stops at once', async (t) => {
    const provider = providerOf(await madePlace(t));
    provider.start();
    provider.start();
    await provider.stop();
  });
});
