import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chownSync, copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createLog, silentLog } from '../../../src/observe/log.ts';
import { createLocalProvider } from '../../../src/providers/local/local-provider.ts';
import {
  initKeyring,
  type KeyringPlace,
  rotateKeyring,
} from '../../../src/providers/local/store.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { emptyPlace, errorOf, goodOf, keyringOf, MADE_AT, madePlace } from './fixtures.ts';

const never = new AbortController().signal;
const SEED = Buffer.alloc(32, 0x5e);

function providerOf(place: KeyringPlace): Provider {
  return createLocalProvider('here', place, { log: silentLog, clock: systemClock, env: {} });
}

async function encryptOne(provider: Provider, plaintext = SEED, version = 1): Promise<Uint8Array> {
  return goodOf((await provider.encrypt([plaintext], version, never))[0]);
}

describe('describing a local keyring', () => {
  it('says why nothing can be known of its file', async (t) => {
    const { keyringFile } = await madePlace(t);
    const below = providerOf({ keyringFile: join(keyringFile, 'keyring.json') });
    const { kind, message } = errorOf(await below.describe(never));
    assert.equal(kind, 'unavailable');
    assert.match(message, /^keyring \S+: a part of its path is not a directory$/);
  });

  it('names the keyring by its id alone, its versions, and the one that encrypts', async (t) => {
    const place = emptyPlace(t);
    const { id } = keyringOf(await initKeyring(place, {}, MADE_AT));
    keyringOf(await rotateKeyring(place, {}, MADE_AT + 1_000));
    const described = goodOf(await providerOf(place).describe(never));
    const [first, second] = described.versions.map(({ checkValue }) => checkValue ?? '');
    assert.ok(first !== undefined && second !== undefined && first !== second);
    for (const value of [first, second]) assert.match(value, /^[0-9a-f]{16}$/);
    assert.deepEqual(described, {
      path: ['local', id],
      versions: [
        { version: 1, createdAt: MADE_AT, checkValue: first },
        { version: 2, createdAt: MADE_AT + 1_000, checkValue: second },
      ],
      current: { version: 2, createdAt: MADE_AT + 1_000, checkValue: second },
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

  it('is denied while the file is missing, and good again when it is back', async (t) => {
    const place = await madePlace(t);
    const provider = providerOf(place);
    const described = goodOf(await provider.describe(never));
    renameSync(place.keyringFile, `${place.keyringFile}.away`);
    const { kind, message } = errorOf(await provider.describe(never));
    assert.equal(kind, 'denied');
    assert.match(message, /does not exist: restore it from its copy\. Never make a new one where/);
    assert.match(message, /the keys in memory still decrypt/);
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
      assert.match(errorOf(result).message, /keyring .* does not exist: restore it from its copy/);
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

describe('a keyring file that would lose a key which is in memory', () => {
  type Change = (place: KeyringPlace, older: KeyringPlace) => Promise<void>;
  const edit =
    (change: (file: KeyringJson) => void): Change =>
    async ({ keyringFile }) => {
      const file = JSON.parse(readFileSync(keyringFile, 'utf8')) as KeyringJson;
      change(file);
      writeFileSync(keyringFile, JSON.stringify(file), { mode: 0o600 });
    };
  const rows: readonly [string, Change, RegExp][] = [
    [
      'an older copy',
      async (place, older) => renameSync(older.keyringFile, place.keyringFile),
      /version 2 is missing in it, and is in memory: was an older copy/,
    ],
    [
      'an older copy that was rotated again',
      async (place, older) => {
        renameSync(older.keyringFile, place.keyringFile);
        keyringOf(await rotateKeyring(place, {}, MADE_AT + 5_000));
      },
      /version 2 in it is another key than the one in memory/,
    ],
    [
      'another keyring',
      async (place) => {
        rmSync(place.keyringFile);
        keyringOf(await initKeyring(place, {}, MADE_AT));
      },
      /another keyring is in its place/,
    ],
    [
      'the same with another key of the same version and time',
      edit((file) => {
        for (const key of file.keys) key.key = randomBytes(32).toString('base64');
      }),
      /version 1, 2 in it is another key/,
    ],
    [
      'the same with another creation time',
      edit((file) => {
        for (const key of file.keys) key.createdAt = '2020-01-01T00:00:00.000Z';
      }),
      /version 1, 2 in it is another key/,
    ],
    [
      'one without the first version',
      edit((file) => void file.keys.shift()),
      /version 1 is missing in it/,
    ],
    [
      'one that encrypts with an earlier version',
      edit((file) => {
        file.current = 1;
      }),
      /it encrypts with version 1, an earlier one than version 2/,
    ],
  ];
  for (const [what, change, sentence] of rows) {
    it(`is not taken, is loud, and nothing is lost: ${what}`, async (t) => {
      const [place, older] = [await madePlace(t), emptyPlace(t)];
      copyFileSync(place.keyringFile, older.keyringFile);
      keyringOf(await rotateKeyring(place, {}, MADE_AT));
      const lines: string[] = [];
      const provider = createLocalProvider('here', place, {
        log: createLog({ level: 'info', format: 'json', write: (line) => void lines.push(line) }),
        clock: systemClock,
        env: {},
      });
      const described = goodOf(await provider.describe(never));
      const written = await Promise.all(
        [1, 2].map((version) => encryptOne(provider, SEED, version)),
      );
      const right = readFileSync(place.keyringFile);

      await change(place, older);
      for (let look = 0; look < 3; look += 1) {
        const { kind, message } = errorOf(await provider.describe(never));
        assert.equal(kind, 'denied');
        assert.match(message, sentence);
        assert.match(message, /put the newest copy of the keyring back before this process ends/);
      }
      assert.equal(lines.filter((line) => line.includes('keyring file not taken')).length, 1);
      for (const result of await provider.decrypt(written, never))
        assert.deepEqual(goodOf(result), SEED);
      // Only memory holds the key: what it encrypts now would be lost with this process.
      assert.equal(errorOf((await provider.encrypt([SEED], 2, never))[0]).kind, 'denied');
      // Another node that began with this file writes with it.
      const there = providerOf(place);
      const { version } = goodOf(await there.describe(never)).current;
      const theirs = await encryptOne(there, SEED, version);
      assert.deepEqual(goodOf((await provider.decrypt([theirs], never))[0]), SEED);

      writeFileSync(place.keyringFile, right, { mode: 0o600 });
      assert.deepEqual(goodOf(await provider.describe(never)), described);
      await encryptOne(provider, SEED, 2);
    });
  }

  it('is noticed at once by whoever listens, as its removal is', async (t) => {
    const place = await madePlace(t);
    const provider = providerOf(place);
    let calls = 0;
    let heard = Promise.withResolvers<void>();
    provider.onChange?.(() => {
      calls += 1;
      heard.resolve();
    });
    provider.start();
    const changes = [
      () => renameSync(place.keyringFile, `${place.keyringFile}.away`),
      () => renameSync(`${place.keyringFile}.away`, place.keyringFile),
    ];
    for (const change of changes) {
      heard = Promise.withResolvers();
      change();
      await heard.promise;
    }
    assert.ok(calls >= 2);
    await provider.stop();
  });

  it('is not taken where it belongs to another user, who could change it', async (t) => {
    if (process.getuid?.() !== 0) {
      // Nobody but root can make such a file: the check of one's own is all there is to see.
      goodOf(await providerOf(await madePlace(t)).describe(never));
      return;
    }
    const place = await madePlace(t);
    chownSync(place.keyringFile, 65_534, 65_534);
    const { kind, message } = errorOf(await providerOf(place).describe(never));
    assert.equal(kind, 'denied');
    assert.match(message, /belongs to the user with id 65534, who may change it: chown -h 0 /);
  });
});

type KeyringJson = {
  current: number;
  keys: { version: number; createdAt: string; key: string }[];
};
