import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { rootCertificates } from 'node:tls';
import { parse } from 'yaml';
import { temporaryFolder } from '../temporary-folder.ts';
import { trousseau } from './fixtures.ts';

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
  it('prints what would run, in the form of the file and so that it can be read again', async (t) => {
    const { code, out, err } = await trousseau('config', 'check', fileWith(t, LOCAL));
    assert.deepEqual([code, err], [0, '']);
    const printed = parse(out) as Readonly<Record<string, unknown>>;
    assert.deepEqual(printed['listen'], {
      socket: '/run/trousseau/kms.sock',
      mode: '0600',
      apis: ['v1', 'v2'],
    });
    const again = await trousseau('config', 'check', fileWith(t, out));
    assert.deepEqual(again, { code, out, err });
  });

  for (const [what, content, said] of [
    ['is empty', '', /it holds no certificate in PEM form/],
    ['is not there', undefined, /it does not exist/],
    [
      'ends in the middle',
      rootCertificates[0]?.slice(0, 200),
      /one of its 1 certificates has no end/,
    ],
  ] as const) {
    it(`refuses a caFile that ${what}, and names file and field`, async (t) => {
      const caFile = join(temporaryFolder(t), 'ca.pem');
      if (content !== undefined) writeFileSync(caFile, content);
      const file = fileWith(
        t,
        VAULT.replace('key: kubernetes', `key: k\n      tls: {caFile: ${caFile}}`),
      );
      const { code, out, err } = await trousseau('config', 'check', file);
      assert.deepEqual([code, out], [2, '']);
      assert.ok(err.startsWith(`${file}: providers[0].vault.tls.caFile: ${caFile}: `), err);
      assert.match(err, said);
    });
  }

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
    const good = await trousseau('config', 'check', fileWith(t, LOCAL), '--output', 'json');
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

  for (const argv of [[], ['check'], ['chekc', '/c.yaml'], ['check', '/a', '/b']]) {
    it(`with other words ends with 2: config ${argv.join(' ')}`, async () => {
      const { code, out, err } = await trousseau('config', ...argv);
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, /it takes check or migrate, and one FILE; see trousseau config --help/);
    });
  }
});
