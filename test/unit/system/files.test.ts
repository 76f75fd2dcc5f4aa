import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  makingReasonOf,
  readSecretBytes,
  readSecretFile,
  reasonOf,
  secretPath,
  writeFileAtomically,
} from '../../../src/system/files.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const SECRET = 'planted-secret-of-a-person';

describe('the place of a secret', () => {
  it('is a path as it is', () => assert.equal(secretPath('/etc/token', {}), '/etc/token'));

  it('is a file of the directory that systemd names', () => {
    const env = { CREDENTIALS_DIRECTORY: '/run/credentials/trousseau.service' };
    assert.equal(secretPath('credential:token', env), '/run/credentials/trousseau.service/token');
  });

  for (const env of [{}, { CREDENTIALS_DIRECTORY: '' }]) {
    it(`as a credential needs a unit that has some (${JSON.stringify(env)})`, () => {
      assert.throws(
        () => secretPath('credential:token', env),
        /start it as a unit with LoadCredential=token:/,
      );
    });
  }
});

describe('reading a secret', () => {
  for (const [what, content, expected] of [
    ['as it is', SECRET, SECRET],
    ['without the line feed at its end', `${SECRET}\n`, SECRET],
    ['without the line end of Windows', `${SECRET}\r\n`, SECRET],
    ['with all line feeds but one', `a\nb\n\n`, 'a\nb\n'],
    ['with its spaces', ` ${SECRET} `, ` ${SECRET} `],
    ['that is empty', '', ''],
  ] as const) {
    it(`gives the text ${what}`, async (t) => {
      const path = join(temporaryFolder(t), 'secret');
      writeFileSync(path, content);
      assert.equal(await readSecretFile(path, {}), expected);
    });
  }

  it('gives bytes as they are, whatever they are', async (t) => {
    const path = join(temporaryFolder(t), 'secret');
    const bytes = Buffer.from([0xff, 0x00, 0x0d, 0x0a]);
    writeFileSync(path, bytes);
    assert.deepEqual(await readSecretBytes(path, {}), bytes);
  });

  it('follows the links by which Kubernetes swaps a mounted Secret', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'token');
    for (const generation of ['1', '2']) {
      mkdirSync(join(folder, generation));
      writeFileSync(join(folder, generation, 'token'), `token ${generation}`);
      symlinkSync(generation, join(folder, '..next'));
      renameSync(join(folder, '..next'), join(folder, '..data'));
      if (generation === '1') symlinkSync('..data/token', path);
      assert.equal(await readSecretFile(path, {}), `token ${generation}`);
    }
  });

  it('fails with the path and the reason where there is none', async (t) => {
    const folder = temporaryFolder(t);
    const missing = join(folder, 'none');
    await assert.rejects(readSecretFile(missing, {}), {
      message: `cannot read ${missing}: it does not exist`,
    });
    await assert.rejects(readSecretFile(folder, {}), {
      message: `cannot read ${folder}: it is not a regular file`,
    });
  });

  it('fails where it is far too large for a secret, and shows nothing of it', async (t) => {
    const path = join(temporaryFolder(t), 'secret');
    writeFileSync(path, SECRET.repeat(10_000));
    await assert.rejects(readSecretFile(path, {}), {
      message: `cannot read ${path}: it is larger than 65536 bytes`,
    });
  });

  it('takes regular files only: a device may have no end, and a pipe no writer', async (t) => {
    const pipe = join(temporaryFolder(t), 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const path of ['/dev/zero', pipe]) {
      await assert.rejects(readSecretBytes(path, {}), {
        message: `cannot read ${path}: it is not a regular file`,
      });
    }
  });
});

describe('why nothing could be made', () => {
  for (const [code, said] of [
    ['ENOENT', /^ENOENT: the directory above it does not exist: make it first$/],
    ['ENOTDIR', /^ENOTDIR: a part of its path is not a directory$/],
    ['EACCES', /^EACCES: the user that runs this must be able to write/],
    ['EPERM', /^EPERM: the user that runs this may not/],
    ['EROFS', /^EROFS: its file system is read-only$/],
    ['ENOSPC', /^ENOSPC: no space is left/],
    ['EDQUOT', /^EDQUOT: the quota/],
    ['EFBIG', /^EFBIG$/],
    [undefined, /^what it said$/],
  ] as const) {
    it(`is said with what to do where there is something: ${code}`, () => {
      assert.match(makingReasonOf(Object.assign(new Error('what it said'), { code })), said);
    });
  }
});

describe('why a file cannot be read', () => {
  const pass = /^permission denied: .* read it and pass every directory above it$/;
  for (const [code, said] of [
    ['ENOENT', /^it does not exist$/],
    ['EACCES', pass],
    ['ENOTDIR', /^a part of its path is not a directory$/],
    ['ELOOP', /^its path has too many symbolic links, or a link that leads to itself$/],
    ['EIO', /^EIO$/],
  ] as const) {
    it(`is said with what has to be so, where that is known: ${code}`, () => {
      assert.match(reasonOf(Object.assign(new Error('what it said'), { code })), said);
    });
  }
});

describe('replacing a file', () => {
  for (const mode of [0o600, 0o640]) {
    it(`gives it mode ${mode.toString(8)} whatever the umask and the old mode are`, async (t) => {
      const path = join(temporaryFolder(t), 'file');
      writeFileSync(path, 'old', { mode: 0o644 });
      const umask = process.umask(0o277);
      await writeFileAtomically(path, 'new', mode).finally(() => process.umask(umask));
      assert.equal(readFileSync(path, 'utf8'), 'new');
      assert.equal(statSync(path).mode & 0o7777, mode);
    });
  }

  it('shows every reader all of the old one or all of the new one', async (t) => {
    const path = join(temporaryFolder(t), 'file');
    const contents = Array.from({ length: 20 }, (_, i) => String(i % 10).repeat(100_000));
    await writeFileAtomically(path, contents[0] ?? '', 0o600);
    let writing = true;
    const read = async (): Promise<void> => {
      while (writing) {
        const seen = readFileSync(path, 'utf8');
        assert.equal(contents.includes(seen), true);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const reading = read();
    for (const content of contents) await writeFileAtomically(path, content, 0o600);
    writing = false;
    await reading;
  });

  it('leaves the old one, and nothing else, where it fails', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'file');
    mkdirSync(path);
    writeFileSync(join(path, 'precious'), 'old');
    await assert.rejects(writeFileAtomically(path, 'new', 0o600), {
      code: /EISDIR|ENOTEMPTY|EEXIST/,
    });
    assert.deepEqual(readdirSync(folder), ['file']);
    assert.deepEqual(readdirSync(path), ['precious']);
  });

  it('writes nothing where the directory is missing', async (t) => {
    const path = join(temporaryFolder(t), 'no', 'file');
    await assert.rejects(writeFileAtomically(path, 'new', 0o600), { code: 'ENOENT' });
  });

  it('leaves it to its owner, also when root does it', async (t) => {
    const path = join(temporaryFolder(t), 'file');
    writeFileSync(path, 'old');
    if (process.getuid?.() === 0) chownSync(path, 65_534, 65_534);
    const { uid, gid } = statSync(path);
    await writeFileAtomically(path, 'new', 0o600);
    const after = statSync(path);
    assert.deepEqual([after.uid, after.gid], [uid, gid]);
  });
});
