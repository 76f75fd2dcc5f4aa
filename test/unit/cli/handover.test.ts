/** What is handed over to the process after a restart, and what is not taken from a file. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { HANDOVER_FILE, openHandover } from '../../../src/cli/handover.ts';
import type { ResolvedConfig } from '../../../src/config/environment.ts';
import { announce, type KeyringState } from '../../../src/keyring/state.ts';
import { createLog } from '../../../src/observe/log.ts';
import { fail } from '../../../src/providers/errors.ts';
import type { KeyDescription } from '../../../src/providers/provider.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { stateFile } from '../../../src/system/state-file.ts';
import { waitUntil } from '../../servers/wait-until.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const description: KeyDescription = {
  path: ['vault', 'transit', 'kubernetes'],
  versions: [
    { version: 1, createdAt: 1_000 },
    { version: 2, createdAt: 2_000 },
  ],
  current: { version: 2, createdAt: 2_000 },
  minDecryptionVersion: 1,
  facts: { type: 'aes256-gcm96', deletable: false, exportable: false },
};
const key = announce(description);
const SOURCES = [Buffer.from('vault:v2:QUJD'), Buffer.from('vault:v2:REVG')];
const READY: KeyringState = { kind: 'ready', key };

function configOf(vault: object = {}): ResolvedConfig {
  const whole = { addresses: ['https://a'], mount: 'transit', key: 'kubernetes', ...vault };
  return {
    providers: [{ name: 'vault', vault: whole }],
    write: ['vault'],
  } as unknown as ResolvedConfig;
}

function setUp(t: TestContext) {
  const dir = temporaryFolder(t);
  const file = join(dir, HANDOVER_FILE);
  const lines: string[] = [];
  const log = createLog({ level: 'info', format: 'json', write: (line) => void lines.push(line) });
  const open = (clock = systemClock) => openHandover({ file, clock, log });
  /** As a process does that announces a key and ends. */
  const write = async (state = READY, config = configOf()): Promise<void> => {
    const handover = await open();
    handover.follow(
      { state: () => state, sources: () => SOURCES, ciphertexts: () => SOURCES },
      () => config,
    );
    await waitUntil('the file', 5_000, async () => existsSync(file));
    await handover.stop();
  };
  return { dir, file, lines, log, open, write };
}

describe('an announced key', () => {
  it('is handed over, in a file for its owner alone, without any other left behind', async (t) => {
    const { dir, file, open, write } = setUp(t);
    await write();
    assert.equal(statSync(file).mode & 0o7777, 0o600);
    assert.deepEqual(readdirSync(dir), [HANDOVER_FILE]);
    assert.deepEqual((await open()).announcedFor(configOf()), {
      key,
      sources: SOURCES,
      ciphertexts: SOURCES,
    });
  });

  it('is not written again where nothing has changed, and is where something has', async (t) => {
    const { file, open, write } = setUp(t);
    await write();
    const before = statSync(file).ino;
    const handover = await open();
    let state: KeyringState = READY;
    handover.follow(
      { state: () => state, sources: () => SOURCES, ciphertexts: () => SOURCES },
      () => configOf(),
    );
    state = { kind: 'ready', key: announce({ ...description, minDecryptionVersion: 2 }) };
    await waitUntil('the change', 5_000, async () => statSync(file).ino !== before);
    await handover.stop();
    assert.match(readFileSync(file, 'utf8'), /"minDecryptionVersion":2/);
  });

  const late: readonly KeyringState[] = [
    READY,
    { kind: 'outage', key, since: 0, why: fail('unavailable', 'away').error },
  ];
  for (const state of late) {
    it(`just before the end is handed over, in state ${state.kind} too`, async (t) => {
      const { open, write } = setUp(t);
      const [first] = description.versions;
      const earlier = announce({ ...description, current: first ?? description.current });
      await write({ kind: 'ready', key: earlier });
      const handover = await open(createDrivenClock());
      let now: KeyringState = { kind: 'ready', key: earlier };
      handover.follow(
        { state: () => now, sources: () => SOURCES, ciphertexts: () => SOURCES },
        () => configOf(),
      );
      now = state;
      await handover.stop();
      assert.equal((await open()).announcedFor(configOf())?.key.keyId, key.keyId);
    });
  }

  it('is in the file before it is announced, and the one before it does not come back', async (t) => {
    const { file, open } = setUp(t);
    const clock = createDrivenClock();
    const handover = await open(clock);
    const [first] = description.versions;
    const earlier = announce({ ...description, current: first ?? description.current });
    const state: KeyringState = { kind: 'ready', key: earlier };
    handover.follow(
      { state: () => state, sources: () => SOURCES, ciphertexts: () => SOURCES },
      () => configOf(),
    );
    await waitUntil('the earlier one', 5_000, async () => existsSync(file));
    const announcing = handover.announcing(key, configOf());
    await clock.advance(999);
    await announcing;
    assert.equal((await open()).announcedFor(configOf())?.key.keyId, key.keyId);
    // One that could not be announced after all gives way.
    await handover.stop();
    assert.equal((await open()).announcedFor(configOf())?.key.keyId, earlier.keyId);
  });

  it('has the ciphertexts of the cache at the end, and once a minute before', async (t) => {
    const { file, open } = setUp(t);
    const clock = createDrivenClock();
    const handover = await open(clock);
    let asked = 0;
    const ciphertexts = () => {
      asked += 1;
      return [Buffer.from(`vault:v2:${asked}`)];
    };
    handover.follow({ state: () => READY, sources: () => [], ciphertexts }, () => configOf());
    await waitUntil('the file', 5_000, async () => existsSync(file));
    await clock.advance(59_000);
    assert.equal(asked, 1);
    await clock.advance(1_000);
    assert.equal(asked, 2);
    await handover.stop();
    const left = (await open()).announcedFor(configOf())?.ciphertexts;
    assert.deepEqual(left, [Buffer.from('vault:v2:3')]);
  });

  const states: readonly KeyringState[] = [
    { kind: 'starting', since: 0, why: undefined },
    { kind: 'refused', key, wasReady: true, since: 0, why: fail('denied', 'no').error },
    {
      kind: 'lost',
      key,
      wasReady: true,
      since: 0,
      why: fail('denied', 'lost').error,
      instead: { key: announce({ ...description, path: ['other'] }), how: 'replaced' },
    },
  ];
  for (const state of states) {
    it(`is not written in state ${state.kind}, so that the last good one stays`, async (t) => {
      const { file, open } = setUp(t);
      const clock = createDrivenClock();
      const handover = await open(clock);
      handover.follow({ state: () => state, sources: () => [], ciphertexts: () => [] }, () =>
        configOf(),
      );
      await clock.advance(10_000);
      await handover.stop();
      assert.equal(existsSync(file), false);
      assert.equal(clock.pending, 0);
    });
  }

  const others: readonly [string, object][] = [
    ['another mount', { mount: 'other' }],
    ['another key', { key: 'other' }],
    ['another namespace', { namespace: 'admin' }],
  ];
  for (const [what, vault] of others) {
    it(`is not taken for ${what}`, async (t) => {
      const { open, write } = setUp(t);
      await write();
      assert.equal((await open()).announcedFor(configOf(vault)), undefined);
    });
  }

  it('is taken though the addresses have changed', async (t) => {
    const { open, write } = setUp(t);
    await write();
    assert.deepEqual((await open()).announcedFor(configOf({ addresses: ['https://b'] }))?.key, key);
  });
});

describe('a file that was handed over is not taken, and said not to be, where it is', () => {
  const rewrite = (file: string, change: (text: string) => string): void =>
    writeFileSync(file, change(readFileSync(file, 'utf8')), { mode: 0o600 });
  const harms: readonly [string, (file: string) => void][] = [
    ['empty', (file) => rewrite(file, () => '')],
    ['cut', (file) => rewrite(file, (text) => text.slice(0, 80))],
    ['of another kind', (file) => rewrite(file, (text) => text.replace('trousseau-', ''))],
    [
      'of a later form',
      (file) => rewrite(file, (text) => text.replace('"version":1', '"version":9')),
    ],
    [
      'with a key_id that is not its own',
      (file) => rewrite(file, (text) => text.replace(/:v2:./, ':v2:x')),
    ],
    [
      'with a current version that it lacks',
      (file) =>
        rewrite(file, (text) => text.replace('"current":{"version":2', '"current":{"version":3')),
    ],
    [
      'without versions',
      (file) => rewrite(file, (text) => text.replace(/"versions":\[.*?\]/, '"versions":[]')),
    ],
    [
      'with a field that nobody knows',
      (file) => rewrite(file, (text) => text.replace('{', '{"x":1,')),
    ],
    ['larger than a megabyte', (file) => rewrite(file, (text) => text + ' '.repeat(1 << 20))],
    ['readable by others', (file) => chmodSync(file, 0o640)],
    [
      'a link',
      (file) => {
        writeFileSync(`${file}.real`, readFileSync(file), { mode: 0o600 });
        rmSync(file);
        symlinkSync(`${file}.real`, file);
      },
    ],
    [
      'a folder',
      (file) => {
        rmSync(file);
        mkdirSync(file);
      },
    ],
  ];
  // Only root can make a file of somebody else.
  const ofRoot: typeof harms =
    process.getuid?.() === 0
      ? [['of another user', (file) => chownSync(file, 65_534, 65_534)]]
      : [];
  for (const [what, harm] of [...harms, ...ofRoot]) {
    it(what, async (t) => {
      const { file, lines, open, write } = setUp(t);
      await write();
      harm(file);
      assert.equal((await open()).announcedFor(configOf()), undefined);
      assert.equal(lines.filter((line) => line.includes('handed over key not taken')).length, 1);
    });
  }
});

describe('the directory for it', () => {
  it('is named once in the log where it cannot be written to, and stops nothing', async (t) => {
    const { dir, lines, log } = setUp(t);
    const file = join(dir, 'missing', HANDOVER_FILE);
    const clock = createDrivenClock();
    const handover = await openHandover({ file, clock, log });
    handover.follow({ state: () => READY, sources: () => [], ciphertexts: () => [] }, () =>
      configOf(),
    );
    await waitUntil('the line', 5_000, async () => lines.length > 0);
    await clock.advance(60_000);
    await handover.stop();
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /announced key not handed over.*ENOENT/);
  });

  const places: readonly [string, (dir: string) => Record<string, string>, string | undefined][] = [
    ['none is given', () => ({}), undefined],
    ['a state directory', (dir) => ({ STATE_DIRECTORY: `${dir}/a` }), 'a'],
    ['the first of two', (dir) => ({ STATE_DIRECTORY: `${dir}/a:${dir}/b` }), 'a'],
    ['a runtime directory', (dir) => ({ RUNTIME_DIRECTORY: `${dir}/b` }), 'b'],
    [
      'the state directory before the other',
      (dir) => ({ STATE_DIRECTORY: `${dir}/a`, RUNTIME_DIRECTORY: `${dir}/b` }),
      'a',
    ],
    [
      'the other where the state directory cannot be written to',
      (dir) => ({ STATE_DIRECTORY: `${dir}/missing`, RUNTIME_DIRECTORY: `${dir}/b` }),
      'b',
    ],
    ['none that is relative', () => ({ STATE_DIRECTORY: 'a' }), undefined],
  ];
  for (const [what, env, expected] of places) {
    it(`is the one of the environment: ${what}`, async (t) => {
      const dir = temporaryFolder(t);
      for (const name of ['a', 'b']) mkdirSync(join(dir, name));
      const file = expected === undefined ? undefined : join(dir, expected, 'f');
      assert.equal(await stateFile('f', env(dir), systemClock), file);
    });
  }
});
