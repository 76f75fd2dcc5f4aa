import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import {
  initKeyring,
  type KeyringPlace,
  loadKeyring,
  rotateKeyring,
  stampOf,
} from '../../../src/providers/local/store.ts';
import { emptyPlace, keyringOf, MADE_AT, madePlace, problemOf } from './fixtures.ts';

const SECRET = 'planted-secret-of-a-person';

async function versionsAt(place: KeyringPlace): Promise<number[]> {
  const loaded = await loadKeyring(place, {});
  assert.ok('keyring' in loaded, problemOf(loaded));
  return loaded.keyring.keys.map(({ version }) => version);
}

describe('a keyring on disk', () => {
  it('is made with one key, for its owner alone, and leaves nothing else behind', async (t) => {
    const umask = process.umask(0);
    const place = await madePlace(t).finally(() => process.umask(umask));
    assert.equal(statSync(place.keyringFile).mode & 0o7777, 0o600);
    assert.deepEqual(readdirSync(dirname(place.keyringFile)), ['keyring.json']);
    assert.deepEqual(await versionsAt(place), [1]);
  });

  it('is never overwritten by a new one', async (t) => {
    const place = await madePlace(t);
    const before = readFileSync(place.keyringFile, 'utf8');
    const again = await initKeyring(place, {}, MADE_AT);
    assert.match(problemOf(again), /exists already: a keyring is never overwritten/);
    assert.equal(readFileSync(place.keyringFile, 'utf8'), before);
  });

  it('is not made in the place of a dangling link', async (t) => {
    const place = emptyPlace(t);
    symlinkSync(join(dirname(place.keyringFile), 'elsewhere'), place.keyringFile);
    assert.match(problemOf(await initKeyring(place, {}, MADE_AT)), /exists already/);
  });

  it('keeps its mode through a rotation, is another file after it, and has another stamp', async (t) => {
    const place = await madePlace(t);
    const [inode, stamp] = [lstatSync(place.keyringFile).ino, await stampOf(place)];
    keyringOf(await rotateKeyring(place, {}, MADE_AT));
    assert.equal(statSync(place.keyringFile).mode & 0o7777, 0o600);
    assert.notEqual(lstatSync(place.keyringFile).ino, inode);
    assert.notEqual(await stampOf(place), stamp);
    assert.deepEqual(await versionsAt(place), [1, 2]);
  });

  it('says what to do where its directory is missing', async (t) => {
    const place = { keyringFile: join(dirname(emptyPlace(t).keyringFile), 'no', 'keyring.json') };
    assert.match(
      problemOf(await initKeyring(place, {}, MADE_AT)),
      /^cannot write .*keyring\.json: ENOENT: the directory above it does not exist: make it first$/,
    );
    assert.match(
      problemOf(await loadKeyring(place, {})),
      /does not exist: restore it from its copy/,
    );
  });
});

describe('a keyring file that is refused', () => {
  for (const mode of [0o640, 0o604, 0o660, 0o644, 0o601, 0o620]) {
    it(`with mode ${mode.toString(8)}, since others may read or change it`, async (t) => {
      const place = await madePlace(t);
      chmodSync(place.keyringFile, mode);
      const said = problemOf(await loadKeyring(place, {}));
      assert.match(said, /others may read or change it: chmod 0600 .*keyring\.json/);
      assert.equal(problemOf(await rotateKeyring(place, {}, MADE_AT)), said);
    });
  }

  for (const [what, content] of [
    ['a list of users', 'root:x:0:0:root:/root:/bin/bash\n'],
    ['a configuration', 'apiVersion: trousseau.io/v1\n'],
    ['other JSON', '{"kind":"Config"}'],
    ['nothing', ''],
  ] as const) {
    it(`being no keyring but ${what}, whose rights nobody is to change`, async (t) => {
      const place = emptyPlace(t);
      writeFileSync(place.keyringFile, content);
      for (const mode of [0o644, 0o666]) {
        chmodSync(place.keyringFile, mode);
        for (const user of [undefined, 65_534]) {
          const said = problemOf(await loadKeyring(place, {}, user));
          assert.match(said, /it is not (JSON|a keyring)/);
          assert.doesNotMatch(said, /chmod|chown/);
        }
      }
    });
  }

  it('being a symbolic link, also to a good one', async (t) => {
    const { keyringFile } = await madePlace(t);
    renameSync(keyringFile, `${keyringFile}.real`);
    symlinkSync(`${keyringFile}.real`, keyringFile);
    assert.match(
      problemOf(await loadKeyring({ keyringFile }, {})),
      /is a symbolic link: name the file/,
    );
    assert.match(problemOf(await rotateKeyring({ keyringFile }, {}, MADE_AT)), /symbolic link/);
    assert.ok(lstatSync(keyringFile).isSymbolicLink());
  });

  it('being a directory', async (t) => {
    const place = emptyPlace(t);
    mkdirSync(place.keyringFile);
    assert.match(problemOf(await loadKeyring(place, {})), /it is not a regular file/);
  });

  it('being a pipe that nobody writes to, at once and without waiting for a writer', async (t) => {
    const place = emptyPlace(t);
    execFileSync('mkfifo', ['-m', '600', place.keyringFile]);
    let waited = false;
    // Whoever waits in open(2) would wait for ever, and the test's process with it.
    const release = setTimeout(() => {
      waited = true;
      writeFileSync(place.keyringFile, '');
    }, 5_000);
    assert.match(problemOf(await loadKeyring(place, {})), /it is not a regular file/);
    clearTimeout(release);
    assert.equal(waited, false);
  });

  for (const [what, content, problem] of [
    ['empty', '', /it is not JSON: it was cut or damaged/],
    ['cut', '{"kind":"trousseau-keyring","version":1,', /it is not JSON: it was cut or damaged/],
    ['other JSON', '{}', /it is not a keyring of this version/],
    ['1 MB of garbage', '\u0007garbage'.repeat(131_072), /it is not JSON/],
    ['1 MB of brackets', '['.repeat(1 << 20), /it is not JSON/],
    ['more than 4 MB', ' '.repeat((4 << 20) + 1), /it is far too large for a keyring/],
  ] as const) {
    it(`holding ${what}, with its path and without its content`, async (t) => {
      const place = emptyPlace(t);
      writeFileSync(place.keyringFile, content, { mode: 0o600 });
      const said = problemOf(await loadKeyring(place, {}));
      assert.match(said, problem);
      assert.ok(said.startsWith(`keyring ${place.keyringFile}: `));
      assert.ok(said.length < 300, said);
    });
  }
});

describe('the secret of a sealed keyring', () => {
  it('opens it from its file, with or without a line feed at its end', async (t) => {
    const { keyringFile } = emptyPlace(t);
    const passphraseFile = join(dirname(keyringFile), 'passphrase');
    const place = { keyringFile, passphraseFile };
    writeFileSync(passphraseFile, `${SECRET}\n`);
    keyringOf(await initKeyring(place, {}, MADE_AT));
    writeFileSync(passphraseFile, SECRET);
    keyringOf(await rotateKeyring(place, {}, MADE_AT));
    assert.deepEqual(await versionsAt(place), [1, 2]);
    writeFileSync(passphraseFile, `${SECRET}!`);
    const said = problemOf(await loadKeyring(place, {}));
    assert.match(said, /the passphrase or sealing key does not open it, or it was changed/);
    assert.equal(said.includes(SECRET), false);
    assert.equal(readFileSync(keyringFile, 'utf8').includes(SECRET), false);
  });

  it('is read as a systemd credential', async (t) => {
    const { keyringFile } = emptyPlace(t);
    const credentials = dirname(keyringFile);
    writeFileSync(join(credentials, 'seal'), Buffer.alloc(32, 7));
    const place = { keyringFile, sealKeyFile: 'credential:seal' };
    keyringOf(await initKeyring(place, { CREDENTIALS_DIRECTORY: credentials }, MADE_AT));
    assert.match(
      problemOf(await loadKeyring(place, {})),
      /credential:seal needs a systemd credential/,
    );
  });

  for (const [what, field, content, problem] of [
    ['an empty passphrase', 'passphraseFile', '\n', /^the passphrase in .*secret is empty/],
    ['a missing file', 'passphraseFile', undefined, /^cannot read .*secret: it does not exist/],
    ['a missing key', 'sealKeyFile', undefined, /^cannot read .*secret: it does not exist/],
    [
      'a key that is none',
      'sealKeyFile',
      SECRET,
      /^the sealing key in .*secret must have 32 bytes/,
    ],
  ] as const) {
    it(`being ${what} makes no keyring, and the error does not show it`, async (t) => {
      const { keyringFile } = emptyPlace(t);
      const secret = join(dirname(keyringFile), 'secret');
      if (content !== undefined) writeFileSync(secret, content);
      const said = problemOf(await initKeyring({ keyringFile, [field]: secret }, {}, MADE_AT));
      assert.match(said, problem);
      assert.equal(said.includes(SECRET), false);
      assert.equal(existsSync(keyringFile), false);
      assert.equal(existsSync(`${keyringFile}.lock`), false);
    });
  }
});

describe('eight rotations at once', () => {
  it('lose no version: each one that succeeded is in the file, the others were told to try again', async (t) => {
    const place = await madePlace(t);
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, () => rotateKeyring(place, {}, MADE_AT)),
    );
    const made: number[] = [];
    for (const outcome of outcomes) {
      if ('problem' in outcome) assert.match(outcome.problem, /is at work there: try again/);
      else made.push(outcome.current);
    }
    assert.ok(made.length > 0);
    assert.deepEqual(await versionsAt(place), [1, ...made.sort((a, b) => a - b)]);
    assert.deepEqual(readdirSync(dirname(place.keyringFile)), ['keyring.json']);
  });
});
