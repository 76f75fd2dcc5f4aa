import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../temporary-folder.ts';
import { trousseau } from './fixtures.ts';

type Listed = {
  readonly file: string;
  readonly id: string;
  readonly versions: readonly {
    readonly version: number;
    readonly createdAt: string;
    readonly current: boolean;
  }[];
};

async function json(...argv: readonly string[]): Promise<Listed> {
  const { code, out, err } = await trousseau('keyring', ...argv, '--output', 'json');
  assert.deepEqual([code, err], [0, '']);
  return JSON.parse(out) as Listed;
}

describe('trousseau keyring', () => {
  it('makes, rotates and lists, saying what to do next', async (t) => {
    const file = join(temporaryFolder(t), 'keyring.json');
    const made = await trousseau('keyring', 'init', file);
    // What root has made the user of the service cannot read.
    assert.equal(made.out.includes(`chown -h trousseau: ${file}`), process.getuid?.() === 0);
    assert.deepEqual([made.code, made.err], [0, '']);
    assert.match(made.out, /^v1 {2}\S+Z {2}encrypts\nMade .*keyring\.json\. Next: name it in the/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const rotated = await trousseau('keyring', 'rotate', file);
    assert.equal(rotated.code, 0);
    assert.match(rotated.out, /^v1 {2}\S+Z\nv2 {2}\S+Z {2}encrypts\nA plugin that uses this file/);
    assert.match(rotated.out, /a node without this file cannot read .* under another name/s);
    const listed = await trousseau('keyring', 'list', file);
    assert.equal(listed.code, 0);
    assert.match(listed.out, /^v1 {2}\S+Z\nv2 {2}\S+Z {2}encrypts\n$/);
  });

  it('answers in JSON, the same of each action, and never with a key', async (t) => {
    const file = join(temporaryFolder(t), 'keyring.json');
    const made = await json('init', file);
    const rotated = await json('rotate', file);
    assert.deepEqual(await json('list', file), rotated);
    assert.deepEqual([made.file, made.id], [file, rotated.id]);
    assert.deepEqual(
      rotated.versions.map(({ version, current }) => [version, current]),
      [
        [1, false],
        [2, true],
      ],
    );
    const { keys } = JSON.parse(readFileSync(file, 'utf8')) as { keys: { key: string }[] };
    for (const { key } of keys) assert.equal(JSON.stringify(rotated).includes(key), false);
  });

  it('refuses to overwrite a file that is there, whatever it is', async (t) => {
    const file = join(temporaryFolder(t), 'keyring.json');
    for (const content of ['precious', '', '{}']) {
      writeFileSync(file, content);
      const { code, out, err } = await trousseau('keyring', 'init', file);
      assert.deepEqual([code, out], [1, '']);
      assert.match(err, /keyring\.json exists already: a keyring is never overwritten; rotate it/);
      assert.equal(readFileSync(file, 'utf8'), content);
    }
  });

  it('takes a path as the person meant it, from where they are', async (t) => {
    const folder = temporaryFolder(t);
    const before = process.cwd();
    process.chdir(folder);
    t.after(() => process.chdir(before));
    writeFileSync('seal.key', randomBytes(32));
    const { file } = await json('init', 'keyring.json', '--seal-key-file', './seal.key');
    assert.ok(file.startsWith('/') && existsSync(file));
    assert.equal((await json('list', './keyring.json', '--seal-key-file', 'seal.key')).file, file);
  });

  for (const [flag, secret, other] of [
    ['--passphrase-file', 'planted-secret-of-a-person\n', 'another one'],
    ['--seal-key-file', randomBytes(32), randomBytes(32)],
  ] as const) {
    it(`seals with ${flag}, and refuses without it or with another, showing neither`, async (t) => {
      const folder = temporaryFolder(t);
      const [file, good, bad] = ['keyring.json', 'good', 'bad'].map((name) => join(folder, name));
      assert.ok(file !== undefined && good !== undefined && bad !== undefined);
      writeFileSync(good, secret);
      writeFileSync(bad, other);
      await json('init', file, flag, good);
      assert.equal((await json('rotate', file, flag, good)).versions.length, 2);
      for (const [argv, problem] of [
        [[], /it is sealed under a (key|passphrase): name the file with it/],
        [[flag, bad], /the passphrase or sealing key does not open it, or it was changed/],
        [[flag, join(folder, 'none')], /cannot read .*none: it does not exist/],
      ] as const) {
        const { code, out, err } = await trousseau('keyring', 'rotate', file, ...argv);
        assert.deepEqual([code, out], [1, '']);
        assert.match(err, problem);
        assert.equal(err.includes(secret.toString('latin1').trim()), false);
      }
      assert.equal((await json('list', file, flag, good)).versions.length, 2);
    });
  }

  for (const [what, argv, said] of [
    [
      'no action',
      [],
      /keyring takes an action: init, rotate or list; see trousseau keyring --help/,
    ],
    [
      'an unknown action',
      ['delete', '/k'],
      /there is no keyring delete: it takes init, rotate or list/,
    ],
    ['a mistyped action', ['rotaet', '/k'], /did you mean rotate\?/],
    ['no file', ['init'], /keyring init takes a FILE/],
    ['two files', ['list', '/a', '/b'], /keyring list takes one FILE; 2 are given/],
    [
      'two seals',
      ['init', '/k', '--passphrase-file', '/p', '--seal-key-file', '/s'],
      /--passphrase-file and --seal-key-file exclude each other/,
    ],
  ] as const) {
    it(`with ${what} ends with 2`, async () => {
      const { code, out, err } = await trousseau('keyring', ...argv);
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, said);
    });
  }

  it('names a missing file, and how to make one', async (t) => {
    const file = join(temporaryFolder(t), 'none.json');
    for (const action of ['rotate', 'list']) {
      const { code, err } = await trousseau('keyring', action, file);
      assert.equal(code, 1);
      assert.ok(err.includes(`trousseau keyring init ${file}`));
      assert.equal(existsSync(`${file}.lock`), false);
    }
  });
});
