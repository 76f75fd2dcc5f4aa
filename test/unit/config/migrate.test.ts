import assert from 'node:assert/strict';
import { chmodSync, chownSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { replaceFile } from '../../../src/cli/config/migrate.ts';
import { type MigrationStep, migrateConfig } from '../../../src/config/migrate.ts';
import { trousseau } from '../cli/fixtures.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const TODAY = `# the node's own
apiVersion:   trousseau.io/v1   # spaces stay
kind: KMSPluginConfiguration
log: {level: 'info'}

providers:
    - name: here # four spaces
      local: {keyringFile: /k.json}
`;

/** What versions to come might need: a field that moves, one that gets another name. */
const STEPS: readonly MigrationStep[] = [
  {
    from: 'trousseau.io/v1',
    to: 'trousseau.io/v2',
    change(document) {
      document.setIn(['observe', 'level'], document.getIn(['log', 'level']));
      document.delete('log');
    },
  },
  {
    from: 'trousseau.io/v2',
    to: 'trousseau.io/v3',
    change(document) {
      document.set('keys', document.get('providers'));
      document.delete('providers');
    },
  },
];

describe('migrating a configuration', () => {
  it('leaves one of today as it is, byte for byte', () => {
    const migrated = migrateConfig(TODAY);
    assert.ok(migrated.ok);
    assert.deepEqual([migrated.from, migrated.to], ['trousseau.io/v1', 'trousseau.io/v1']);
    assert.equal(migrated.text, TODAY);
  });

  it('goes through every step in between, and keeps comments and what no step concerns', () => {
    const migrated = migrateConfig(TODAY, STEPS, 'trousseau.io/v3');
    assert.ok(migrated.ok);
    assert.deepEqual([migrated.from, migrated.to], ['trousseau.io/v1', 'trousseau.io/v3']);
    for (const kept of ["# the node's own", '# spaces stay', '# four spaces', '/k.json'])
      assert.ok(migrated.text.includes(kept), kept);
    assert.match(migrated.text, /^apiVersion: trousseau\.io\/v3 /m);
    assert.match(migrated.text, /^keys:$/m);
    assert.match(migrated.text, /level: info/);
    assert.doesNotMatch(migrated.text, /^(providers|log):/m);
    const again = migrateConfig(migrated.text, STEPS, 'trousseau.io/v3');
    assert.ok(again.ok);
    assert.equal(again.text, migrated.text);
  });

  const head = 'kind: KMSPluginConfiguration\n';
  for (const [what, text, said] of [
    [
      'a version that is not known',
      `apiVersion: trousseau.io/v9\n${head}`,
      /"trousseau\.io\/v9" is not known here \(known: trousseau\.io\/v1\): if a newer/,
    ],
    ['a version that is a number', `apiVersion: 1\n${head}`, /names no apiVersion/],
    ['a file without a version', head, /begin it with "apiVersion: trousseau\.io\/v1"/],
    ['a file without a kind', 'apiVersion: trousseau.io/v1\n', /names no apiVersion and kind/],
    [
      "another program's file",
      'apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n',
      /kind "EncryptionConfiguration", not KMSPluginConfiguration/,
    ],
    ['an empty file', '', /names no apiVersion/],
    ['a list', '- a\n', /names no apiVersion/],
    ['two documents', `${TODAY}---\n${TODAY}`, /it is not YAML: a second document begins here/],
    ['something else', 'a: [b: hvs.planted', /it is not YAML/],
  ] as const) {
    it(`refuses ${what}, and says what to do`, () => {
      const migrated = migrateConfig(text);
      assert.ok(!migrated.ok);
      assert.match(migrated.problem, said);
      assert.doesNotMatch(migrated.problem, /planted/);
    });
  }
});

describe('trousseau config migrate', () => {
  it('prints the file, and changes nothing', async (t) => {
    const file = join(temporaryFolder(t), 'config.yaml');
    writeFileSync(file, TODAY);
    assert.deepEqual(await trousseau('config', 'migrate', file), { code: 0, out: TODAY, err: '' });
  });

  it('with --write does not touch a file of today', async (t) => {
    const file = join(temporaryFolder(t), 'config.yaml');
    writeFileSync(file, TODAY);
    const { ino } = statSync(file);
    const { code, out, err } = await trousseau('config', 'migrate', file, '--write');
    assert.deepEqual([code, out], [0, '']);
    assert.match(err, /it is of trousseau\.io\/v1 already: nothing was changed/);
    assert.equal(statSync(file).ino, ino);
  });

  it('names file and line of what is wrong, and ends with 2', async (t) => {
    const file = join(temporaryFolder(t), 'config.yaml');
    writeFileSync(file, 'apiVersion: trousseau.io/v1\nkind: [\n');
    const { code, out, err } = await trousseau('config', 'migrate', file);
    assert.deepEqual([code, out], [2, '']);
    assert.match(err, /config\.yaml:\d+: it is not YAML: /);
    const missing = await trousseau('config', 'migrate', `${file}.not`);
    assert.deepEqual([missing.code, missing.out], [2, '']);
    assert.match(missing.err, /it does not exist/);
  });

  it('prints that of an earlier plugin, what to do beside it, and does not write over its file', async (t) => {
    const file = join(temporaryFolder(t), 'old.yaml');
    const old =
      'provider: vault\nvault: {keynames: [k], address: "https://v:8200", token: planted}\n';
    writeFileSync(file, old);
    const { code, out, err } = await trousseau('config', 'migrate', file);
    assert.equal(code, 0);
    assert.match(
      out,
      /^# From a configuration of Trousseau 1\.x\.\napiVersion: trousseau\.io\/v1\n/,
    );
    assert.match(err, /^to do: Write the token, /);
    assert.doesNotMatch(out + err, /planted/);
    const refused = await trousseau('config', 'migrate', file, '--write');
    assert.deepEqual([refused.code, refused.out], [2, '']);
    assert.match(
      refused.err,
      /it is of Trousseau 1\.x, which may still need it: print the new one/,
    );
    assert.equal(readFileSync(file, 'utf8'), old);
  });

  it('takes no option of check, and check none of its own', async () => {
    const output = await trousseau('config', 'migrate', '/c.yaml', '--output', 'json');
    assert.deepEqual([output.code, output.out], [2, '']);
    assert.match(output.err, /migrate takes no --output/);
    assert.match((await trousseau('config', 'check', '/c.yaml', '--write')).err, /no --write/);
  });
});

describe('replacing a configuration', () => {
  it('keeps its mode, and the link that leads to it', async (t) => {
    const dir = temporaryFolder(t);
    const [file, link] = [join(dir, 'config.yaml'), join(dir, 'link.yaml')];
    writeFileSync(file, 'old');
    chmodSync(file, 0o640);
    symlinkSync('config.yaml', link);
    if (process.geteuid?.() === 0) chownSync(file, 12_345, 23_456);
    const { uid, gid, mode, ino } = statSync(file);
    assert.equal(await replaceFile(link, 'new'), undefined);
    const after = statSync(file);
    assert.equal(readFileSync(file, 'utf8'), 'new');
    assert.deepEqual([after.uid, after.gid, after.mode], [uid, gid, mode]);
    assert.notEqual(after.ino, ino);
    assert.equal(statSync(link).ino, after.ino);
  });

  it('says why it could not', async (t) => {
    const problem = await replaceFile(join(temporaryFolder(t), 'none'), 'new');
    assert.equal(problem, 'it cannot be replaced: ENOENT');
  });
});
