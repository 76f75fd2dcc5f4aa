import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { rootCertificates } from 'node:tls';
import { parse } from 'yaml';
import { temporaryFolder } from '../temporary-folder.ts';
import { trousseau, trousseauReading } from './fixtures.ts';

const HEAD = 'apiVersion: trousseau.io/v1\nkind: KMSPluginConfiguration\n';
const LOCAL = `${HEAD}providers:\n  - name: here\n    local: {keyringFile: /k.json}\n`;
const ROLE_ID = '4f2c9d1e-planted-secret-role';
const VAULT = `${HEAD}providers:
  - name: vault
    vault:
      addresses: [https://vault.example:8200]
      key: kubernetes
      auth: {appRole: {roleID: ${ROLE_ID}, secretIDFile: /etc/trousseau/secret-id}}
`;
const MISTAKES = `${HEAD}listen: {mode: "0666"}
health: {watchIntervall: 30s}
providers:
  - name: here
    local: {keyringFile: k.json}
`;

function fileWith(t: TestContext, content: string): string {
  const file = join(temporaryFolder(t), 'config.yaml');
  writeFileSync(file, content);
  return file;
}

describe('trousseau config check', () => {
  it('names the files that the user of the service may not read, its own among them', async (t) => {
    const folder = temporaryFolder(t);
    chmodSync(folder, 0o755);
    const [file, keyring] = [join(folder, 'config.yaml'), join(folder, 'keyring.json')];
    for (const path of [file, keyring])
      writeFileSync(path, LOCAL.replace('/k.json', keyring), { mode: 0o600 });
    const { code, err } = await trousseau('config', 'check', file, '--user', 'nobody');
    assert.equal(code, 0, err);
    for (const path of [file, keyring])
      assert.match(
        err,
        new RegExp(`${path}: user nobody of the service may not read it \\(mode 0600`),
      );
    const unknown = await trousseau('config', 'check', file, '--user', 'no-such-user');
    assert.deepEqual([unknown.code, unknown.err], [2, 'user no-such-user is not in /etc/passwd\n']);
  });

  it('says of a keyring what the plugin itself would refuse, and advises nothing that it refuses', async (t) => {
    const folder = temporaryFolder(t);
    chmodSync(folder, 0o755);
    const [file, keyring, link] = ['config.yaml', 'keyring.json', 'link'].map((name) =>
      join(folder, name),
    ) as [string, string, string];
    writeFileSync(keyring, '');
    symlinkSync(keyring, link);
    const cases: readonly (readonly [string, number, RegExp])[] = [
      [keyring, 0o600, /may not read it .*: chown -h nobody: \S+keyring\.json; chmod 0600 /],
      [
        keyring,
        0o640,
        /which the plugin refuses: if it is the keyring, chmod 0600 .*\n.*may not read it .*; chmod 0600 /,
      ],
      [keyring, 0o644, /which the plugin refuses: if it is the keyring, chmod 0600 /],
      [link, 0o600, /it is a symbolic link: name the file itself/],
    ];
    for (const [path, mode, said] of cases) {
      chmodSync(keyring, mode);
      writeFileSync(file, LOCAL.replace('/k.json', path), { mode: 0o644 });
      const { code, err } = await trousseau('config', 'check', file, '--user', 'nobody');
      assert.equal(code, 0, err);
      assert.match(err, said, `${path} ${mode.toString(8)}`);
      assert.doesNotMatch(err, /keyring\.json; chmod 0640|chmod o=/, `${path} ${mode.toString(8)}`);
    }
  });

  it('prints what would run, in the form of the file and so that it can be read again', async (t) => {
    const file = fileWith(t, LOCAL);
    const { code, out, err } = await trousseau('config', 'check', '--text-only', file);
    assert.deepEqual([code, err], [0, '']);
    const printed = parse(out) as Readonly<Record<string, unknown>>;
    assert.deepEqual(printed['listen'], {
      socket: '/run/trousseau/kms.sock',
      mode: '0600',
      sharedDirectory: false,
      apis: ['v1', 'v2'],
    });
    const again = await trousseau('config', 'check', '--text-only', fileWith(t, out));
    assert.deepEqual(again, { code, out, err });
  });

  it('shows of a role id only enough to tell two apart, in both forms', async (t) => {
    const file = fileWith(t, VAULT);
    for (const argv of [[], ['-o', 'json']]) {
      const { code, out } = await trousseau('config', 'check', file, ...argv);
      assert.equal(code, 0);
      assert.equal(out.includes(ROLE_ID), false);
      assert.match(out, /4f2c\.\.\./);
    }
  });

  it('names every mistake with file, line, column and field, and ends with 2', async (t) => {
    const file = fileWith(t, MISTAKES);
    const { code, out, err } = await trousseau('config', 'check', file);
    assert.deepEqual([code, out], [2, '']);
    const lines = err.trimEnd().split('\n');
    assert.ok(lines.every((line) => line.startsWith(`${file}:`)));
    assert.ok(
      lines.some(
        (line) => line.startsWith(`${file}:4:`) && line.includes('health.watchIntervall: '),
      ),
    );
    assert.ok(
      lines.some(
        (line) =>
          line.startsWith(`${file}:7:`) && line.includes('providers[0].local.keyringFile: '),
      ),
    );
  });

  it('answers in JSON with the configuration, or with what is wrong', async (t) => {
    const file0 = fileWith(t, LOCAL);
    const good = await trousseau('config', 'check', file0, '--text-only', '--output', 'json');
    const right = JSON.parse(good.out) as Readonly<Record<string, unknown>>;
    assert.deepEqual([good.code, right['ok'], right['problems']], [0, true, []]);
    assert.ok('config' in right);
    const file = fileWith(t, MISTAKES);
    const bad = await trousseau('config', 'check', file, '--output', 'json');
    const wrong = JSON.parse(bad.out) as {
      ok: boolean;
      problems: { file: string; line: number; field: string; message: string }[];
    };
    assert.deepEqual([bad.code, bad.err, wrong.ok, 'config' in wrong], [2, '', false, false]);
    const [first] = wrong.problems;
    assert.deepEqual([first?.file, first?.line, first?.field], [file, 4, 'health.watchIntervall']);
  });

  it('shows nothing of a secret that was written where a path belongs', async (t) => {
    const secret = 'hvs.planted-secret';
    const wrong = VAULT.replace(/auth: .*/, `auth: {token: {tokenFile: ${secret}}}`);
    const { code, err } = await trousseau('config', 'check', fileWith(t, wrong));
    assert.equal(code, 2);
    assert.match(err, /providers\[0\]\.vault\.auth\.token\.tokenFile: /);
    assert.equal(err.includes(secret), false);
  });

  it('says what is wrong with a file that is no configuration at all', async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'directory'));
    writeFileSync(join(folder, 'empty'), '');
    for (const [name, said] of [
      ['none', /none: it does not exist/],
      ['directory', /directory: it is not a regular file/],
      ['empty', /empty: it is empty/],
    ] as const) {
      const { code, out, err } = await trousseau('config', 'check', join(folder, name));
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, said);
    }
  });

  for (const [argv, said] of [
    [[], 'config takes an action: check or migrate'],
    [['lint', '/c.yaml'], 'there is no config lint: it takes check or migrate'],
    [
      ['chekc', '/c.yaml'],
      'there is no config chekc (did you mean check?): it takes check or migrate',
    ],
    [['check'], 'config check takes a FILE'],
    [['check', ''], 'config check takes a FILE'],
    [['check', '/a', '/b', '/c'], 'config check takes one FILE; 3 are given'],
    [['check', '/a', '--write'], 'check takes no --write'],
    [['migrate', '/a', '--text-only'], 'migrate takes no --text-only'],
    [['ch\u001b[2Jeck', '/a'], 'there is no config ch?[2Jeck: it takes check or migrate'],
  ] as const) {
    it(`with other words ends with 2: config ${JSON.stringify(argv)}`, async () => {
      const { code, out, err } = await trousseau('config', ...argv);
      assert.deepEqual([code, out, err], [2, '', `${said}; see trousseau config --help\n`]);
    });
  }

  it('reads standard input where the file is -, and names it so', async () => {
    const good = await trousseauReading(LOCAL, 'config', 'check', '--text-only', '-');
    assert.deepEqual([good.code, good.err], [0, '']);
    const bad = await trousseauReading(MISTAKES, 'config', 'check', '-');
    assert.equal(bad.code, 2);
    assert.match(bad.err, /^standard input:4:10: health\.watchIntervall: /);
    const none = await trousseauReading(
      { problem: 'it is not UTF-8 text' },
      'config',
      'check',
      '-',
    );
    assert.deepEqual([none.code, none.err], [2, 'standard input: it is not UTF-8 text\n']);
  });

  it('refuses a pipe without a writer at once', async (t) => {
    const pipe = join(temporaryFolder(t), 'pipe');
    execFileSync('mkfifo', [pipe]);
    const { code, err } = await trousseau('config', 'check', pipe);
    assert.deepEqual([code, err], [2, `${pipe}: it is not a regular file\n`]);
  });
});

describe('the files that a configuration names', () => {
  const CERTIFICATE = rootCertificates[0] ?? '';
  const vaultWith = (caFile: string): string =>
    VAULT.replace('key: kubernetes', `key: kubernetes\n      tls: {caFile: ${caFile}}`);

  for (const [what, content, said] of [
    ['is not there', undefined, /it does not exist/],
    ['is empty', '', /holds no certificate in PEM form/],
    [
      'holds a key',
      '-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n',
      /holds no certificate/,
    ],
    ['is cut', CERTIFICATE.slice(0, 200), /one of its 1 certificates has no end/],
    [
      'is damaged',
      CERTIFICATE.replace(/\n[A-Za-z0-9+/=]{4}/, '\nAAAA'),
      /certificate 1 of 1 cannot be read/,
    ],
  ] as const) {
    it(`an authority that ${what} is an error with the place of its field`, async (t) => {
      const caFile = join(temporaryFolder(t), 'ca.pem');
      if (content !== undefined) writeFileSync(caFile, content);
      const { code, out, err } = await trousseau('config', 'check', fileWith(t, vaultWith(caFile)));
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, /config\.yaml:8:\d+: providers\[0\]\.vault\.tls\.caFile: \//);
      assert.match(err, said);
      assert.doesNotMatch(err, /planted/);
    });
  }

  it('a directory in the place of an authority is an error', async (t) => {
    const { code, err } = await trousseau(
      'config',
      'check',
      fileWith(t, vaultWith(temporaryFolder(t))),
    );
    assert.equal(code, 2);
    assert.match(err, /caFile: .*it is not a regular file/);
  });

  it('a group that is not there is an error; root is there, and a number is not looked up', async (t) => {
    for (const [group, expected] of [
      ['no-such-group', 2],
      ['root', 0],
      ['64321', 0],
    ] as const) {
      const text = `${LOCAL}listen: {mode: "0660", group: "${group}"}\n`;
      const { code, err } = await trousseau('config', 'check', fileWith(t, text));
      assert.equal(code, expected, err);
      if (expected === 2)
        assert.match(err, /listen\.group: is not in \/etc\/group: create it first/);
    }
  });

  it('a secret that is not there, or that everybody can read, is a warning', async (t) => {
    const folder = temporaryFolder(t);
    const [tokenFile, missing] = [join(folder, 'token'), join(folder, 'missing')];
    writeFileSync(tokenFile, 'hvs.planted');
    chmodSync(tokenFile, 0o644);
    const text = `${HEAD}providers:
  - name: vault
    vault:
      addresses: [https://vault.example:8200]
      key: kubernetes
      tls: {certFile: ${missing}, keyFile: credential:key}
      auth: {token: {tokenFile: ${tokenFile}}}
`;
    const { code, err } = await trousseau('config', 'check', fileWith(t, text));
    assert.equal(code, 0);
    assert.match(
      err,
      /tokenFile: .*everybody on this machine can read or write it: if the secret is in it, chmod o= /,
    );
    assert.match(err, /tls\.certFile: .*it does not exist/);
    assert.equal(err.trimEnd().split('\n').length, 2);
    assert.doesNotMatch(err, /planted/);
    const alone = await trousseau('config', 'check', '--text-only', fileWith(t, text));
    assert.deepEqual([alone.code, alone.err], [0, '']);
  });
});
