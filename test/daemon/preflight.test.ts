/** What the shipped program proves of a successor of a local keyring, and what a reload says of its end. */
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type Plugin, startPlugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { temporaryFolder } from '../unit/temporary-folder.ts';
import { NOTICE_MS, replaceConfig, twoKeyrings } from './changed-config.ts';
import { askAdmin, type Ended, trousseau } from './program.ts';

type World = {
  readonly dir: string;
  readonly plugin: Plugin;
  readonly providers: Awaited<ReturnType<typeof twoKeyrings>>;
};

type Case = {
  readonly change: (world: World) => Promise<unknown> | unknown;
  /** How the proof ends, and what it says. */
  readonly code: number;
  readonly says: RegExp;
};

const CONFIG = 'config.yaml';
const KEYRING = 'a.json';

async function rotate({ dir }: World): Promise<void> {
  const seal = ['--seal-key-file', join(dir, 'seal.key')];
  const { code, err } = await trousseau('keyring', 'rotate', join(dir, KEYRING), ...seal);
  assert.equal(code, 0, err);
}

/** Until the running process has loaded what was written. */
async function loaded({ dir }: World, versions: number): Promise<void> {
  await waitUntil(`${versions} versions`, NOTICE_MS, async () => {
    const { body } = await askAdmin(join(dir, 'admin.sock'), '/readyz');
    const keyIds = body['keyIds'] as readonly string[];
    return keyIds.filter((id) => id.startsWith('local:')).length === versions;
  });
}

function overwrite({ dir }: World, change: (text: string) => string): void {
  const file = join(dir, CONFIG);
  writeFileSync(file, change(readFileSync(file, 'utf8')));
}

const CASES: Readonly<Record<string, Case>> = {
  'nothing changed': { change: () => undefined, code: 0, says: /^proved: running process: all/m },
  'the keyring was rotated': { change: rotate, code: 0, says: /2 versions, encrypting with v2/ },
  'the keyring is gone': {
    change: ({ dir }) => rmSync(join(dir, KEYRING)),
    code: 1,
    says: /NOT PROVED: keys: .*a\.json/,
  },
  'the keyring is damaged': {
    change: ({ dir }) => writeFileSync(join(dir, KEYRING), '{'),
    code: 1,
    says: /NOT PROVED: keys/,
  },
  'a new keyring is in its place': {
    async change({ dir }) {
      rmSync(join(dir, KEYRING));
      const seal = ['--seal-key-file', join(dir, 'seal.key')];
      await trousseau('keyring', 'init', join(dir, KEYRING), ...seal);
    },
    code: 1,
    says: /NOT PROVED: running process: it has local:v1:/,
  },
  'an older copy of the keyring is in its place': {
    async change(world) {
      copyFileSync(join(world.dir, KEYRING), join(world.dir, 'copy'));
      await rotate(world);
      await loaded(world, 3);
      copyFileSync(join(world.dir, 'copy'), join(world.dir, KEYRING));
    },
    code: 1,
    says: /NOT PROVED: running process: it has local:v2:/,
  },
  'what seals the keyring is gone': {
    change: ({ dir }) => rmSync(join(dir, 'seal.key')),
    code: 1,
    says: /NOT PROVED: keys: .*seal\.key/,
  },
  'what seals the keyring is another key': {
    change: ({ dir }) => writeFileSync(join(dir, 'seal.key'), Buffer.alloc(32, 8)),
    code: 1,
    says: /NOT PROVED: keys/,
  },
  'the keyring is open to others': {
    change: ({ dir }) => chmodSync(join(dir, KEYRING), 0o644),
    code: 1,
    says: /NOT PROVED: keys/,
  },
  'a keyring that only decrypts is gone': {
    change: ({ dir }) => rmSync(join(dir, 'b.json')),
    code: 1,
    says: /NOT PROVED: keys: b, which only decrypts/,
  },
  'the configuration is broken': {
    change: (world) => overwrite(world, (text) => text.replace('providers', 'provider')),
    code: 2,
    says: /NOT PROVED: configuration: .*config\.yaml:\d+/,
  },
  'the configuration is gone': {
    change: ({ dir }) => rmSync(join(dir, CONFIG)),
    code: 2,
    says: /NOT PROVED: configuration/,
  },
};

function preflight(dir: string, ...more: readonly string[]): Promise<Ended> {
  return trousseau('preflight', '--config', join(dir, CONFIG), ...more);
}

describe('a successor is proved beside a process that serves, where', () => {
  for (const [title, { change, code, says }] of Object.entries(CASES)) {
    it(`${title}: ${code === 0 ? 'it could take over' : 'it could not'}`, async (t) => {
      const dir = temporaryFolder(t);
      const providers = await twoKeyrings(dir);
      const config = { providers, write: ['a'], health: { watchInterval: '1s' } };
      await using plugin = await startPlugin({ dir, config });
      await plugin.ready();
      await loaded({ dir, plugin, providers }, 2); // one of each keyring
      await change({ dir, plugin, providers });
      const ended = await preflight(dir);
      assert.equal(ended.code, code, ended.out + ended.err);
      assert.match(ended.out + ended.err, says);
      const json = JSON.parse((await preflight(dir, '--output', 'json')).out);
      assert.equal(json.ok, code === 0);
      assert.equal((await plugin.client.v1.version()).version, 'v1beta1');
    });
  }

  it('no process runs: there is nothing to compare with', async (t) => {
    const dir = temporaryFolder(t);
    const [a] = await twoKeyrings(dir);
    replaceConfig(dir, { providers: [a] });
    const { code, out } = await preflight(dir);
    assert.equal(code, 0);
    assert.match(out, /proved: running process: none answers/);
  });

  it('a process without an admin endpoint runs: its announced key is compared', async (t) => {
    const dir = temporaryFolder(t);
    const [a, b] = await twoKeyrings(dir);
    await using plugin = await startPlugin({ dir, config: { providers: [a], admin: {} } });
    await plugin.ready();
    const same = await preflight(dir);
    assert.equal(same.code, 0, same.err);
    assert.match(same.out, /all 1 of its key versions; not compared: other versions/);
    copyFileSync(b.local.keyringFile, join(dir, KEYRING));
    assert.equal((await preflight(dir)).code, 1);
  });
});

describe('a process that runs and does not say which keys it has', () => {
  it('proves nothing, where it alone decrypts from memory and has no admin endpoint', async (t) => {
    const dir = temporaryFolder(t);
    const [a] = await twoKeyrings(dir);
    const config = { providers: [a], admin: {}, health: { watchInterval: '1s' } };
    await using plugin = await startPlugin({ dir, config });
    await plugin.ready();
    rmSync(join(dir, KEYRING));
    const seal = ['--seal-key-file', join(dir, 'seal.key')];
    await trousseau('keyring', 'init', join(dir, KEYRING), ...seal);
    await waitUntil('a Status without a key', NOTICE_MS, () =>
      plugin.client.v2.status().then(
        () => false,
        () => true,
      ),
    );
    assert.equal((await preflight(dir)).code, 0, 'alone it takes silence for nobody');
    const { code, err } = await preflight(dir, '--running');
    assert.equal(code, 1);
    assert.match(err, /NOT PROVED: running process: it does not say which keys it has/);
  });

  it('proves nothing, where the configuration names another admin socket and another socket', async (t) => {
    const dir = temporaryFolder(t);
    const [a] = await twoKeyrings(dir);
    await using plugin = await startPlugin({ dir, config: { providers: [a] } });
    await plugin.ready();
    const file = join(dir, CONFIG);
    const text = readFileSync(file, 'utf8').replaceAll('kms.sock', 'another.sock');
    writeFileSync(file, text.replaceAll('admin.sock', 'another-admin.sock'));
    const { code, err } = await preflight(dir, '--running');
    assert.equal(code, 1, err);
    assert.match(err, /NOT PROVED: running process/);
  });
});

describe('a process that runs, and whose socket a new one would not serve on', () => {
  it('proves the keys, and not that it could be restarted', async (t) => {
    const dir = temporaryFolder(t);
    const [a] = await twoKeyrings(dir);
    await using plugin = await startPlugin({ dir, config: { providers: [a] } });
    await plugin.ready();
    const inherited = ['--running', '--inherited', plugin.socket];
    const good = await preflight(dir, ...inherited);
    assert.equal(good.code, 0, good.err);
    assert.match(good.out, /^proved: socket: .*kms\.sock can be served$/m);
    chmodSync(plugin.socket, 0o666);
    const open = await preflight(dir, ...inherited);
    assert.equal(open.code, 1);
    assert.match(open.err, /^NOT PROVED: socket: .*can be used by everybody \(mode 0666\)/m);
    assert.match(open.out, /^proved: running process: all/m);
    assert.equal((await preflight(dir, '--running')).code, 0, 'of its own it would make again');
    replaceConfig(dir, { providers: [a], listen: { socket: join(dir, CONFIG, 'kms.sock') } });
    const file = await preflight(dir, '--running');
    assert.equal(file.code, 1);
    assert.match(file.err, /^NOT PROVED: socket: .*is not a directory/m);
  });
});

describe('trousseau reload', () => {
  const reload = (plugin: Plugin, dir: string): Promise<Ended> =>
    trousseau('reload', '--pid', `${plugin.process.pid}`, '--config', join(dir, CONFIG));

  it('ends with 0 where the configuration was taken, and otherwise says why it was not', async (t) => {
    const dir = temporaryFolder(t);
    const providers = await twoKeyrings(dir);
    await using plugin = await startPlugin({ dir, config: { providers, write: ['a'] } });
    await plugin.ready();
    const taken = await reload(plugin, dir);
    assert.deepEqual([taken.code, taken.out], [0, 'configuration reloaded\n'], taken.err);
    rmSync(join(dir, 'b.json'));
    const refused = await reload(plugin, dir);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /^reload refused: the configuration in use stays: .*b\.json/);
    writeFileSync(join(dir, CONFIG), 'apiVersion: none\n');
    const broken = await reload(plugin, dir);
    assert.equal(broken.code, 2);
    assert.match(broken.err, /config\.yaml:1.*\nreload refused: the configuration in use stays/s);
    assert.equal((await plugin.client.v2.status()).healthz, 'ok');
  });

  it('does not call a result a success that it cannot know', async (t) => {
    const dir = temporaryFolder(t);
    const [a] = await twoKeyrings(dir);
    await using plugin = await startPlugin({ dir, config: { providers: [a] } });
    await plugin.ready();
    const other = join(dir, 'other');
    mkdirSync(other);
    replaceConfig(other, { providers: [a] });
    const unknown = await reload(plugin, other);
    assert.equal(unknown.code, 1);
    assert.match(unknown.err, /the admin endpoint \S+ does not answer/);
    for (const args of [[], ['--pid', 'x'], ['--pid', '1']])
      assert.equal((await trousseau('reload', ...args)).code, 2);
  });
});
