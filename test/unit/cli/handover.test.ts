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
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { HANDOVER_FILE, type Handover, openHandover } from '../../../src/cli/handover.ts';
import type { ResolvedConfig } from '../../../src/config/environment.ts';
import { announce, type KeyringState } from '../../../src/keyring/state.ts';
import { createLog } from '../../../src/observe/log.ts';
import { fail } from '../../../src/providers/errors.ts';
import type { KeyDescription } from '../../../src/providers/provider.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { stateFiles } from '../../../src/system/state-file.ts';
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
const SAMPLE = { plaintext: Buffer.alloc(32), ciphertext: Buffer.from('vault:v2:R0hJ') };

/** A keyring in this state, which goes on to whatever state it is set to. */
function keyringIn(state: KeyringState, more: Partial<Followed> = {}): Followed & Changing {
  const keyring: Followed & Changing = {
    ...{ now: state, state: () => keyring.now },
    ...{ sample: () => SAMPLE, sources: () => SOURCES, ciphertexts: () => SOURCES, ...more },
  };
  return keyring;
}

type Followed = Parameters<Handover['follow']>[0];
type Changing = { now: KeyringState };

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
  const open = (clock = systemClock) => openHandover({ files: [file], clock, log });
  /** As a process does that announces a key and ends. */
  const write = async (state = READY, config = configOf()): Promise<void> => {
    const handover = await open();
    handover.follow(keyringIn(state), () => config);
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
    assert.deepEqual((await open()).leftFor(configOf()), {
      ...{ key, isConfigured: true, sample: SAMPLE.ciphertext, awaySince: undefined },
      ...{ sources: SOURCES, ciphertexts: SOURCES },
    });
  });

  it('is not written again where nothing has changed, and is where something has', async (t) => {
    const { file, open, write } = setUp(t);
    await write();
    const before = statSync(file).ino;
    const handover = await open();
    const keyring = keyringIn(READY);
    handover.follow(keyring, () => configOf());
    keyring.now = { kind: 'ready', key: announce({ ...description, minDecryptionVersion: 2 }) };
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
      const keyring = keyringIn({ kind: 'ready', key: earlier });
      handover.follow(keyring, () => configOf());
      keyring.now = state;
      await handover.stop();
      assert.equal((await open()).leftFor(configOf())?.key.keyId, key.keyId);
    });
  }

  it('is in the file before it is announced, and the one before it does not come back', async (t) => {
    const { file, open } = setUp(t);
    const clock = createDrivenClock();
    const handover = await open(clock);
    const [first] = description.versions;
    const earlier = announce({ ...description, current: first ?? description.current });
    handover.follow(keyringIn({ kind: 'ready', key: earlier }), () => configOf());
    await waitUntil('the earlier one', 5_000, async () => existsSync(file));
    const announcing = handover.announcing(key, SAMPLE, configOf());
    await clock.advance(999);
    await announcing;
    assert.equal((await open()).leftFor(configOf())?.key.keyId, key.keyId);
    // One that could not be announced after all gives way.
    await handover.stop();
    assert.equal((await open()).leftFor(configOf())?.key.keyId, earlier.keyId);
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
    handover.follow(keyringIn(READY, { sources: () => [], ciphertexts }), () => configOf());
    await waitUntil('the file', 5_000, async () => existsSync(file));
    await clock.advance(59_000);
    assert.equal(asked, 1);
    await clock.advance(1_000);
    assert.equal(asked, 2);
    await handover.stop();
    const left = (await open()).leftFor(configOf())?.ciphertexts;
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
      handover.follow(keyringIn(state), () => configOf());
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
    it(`is not taken for ${what}, and known to be of another one`, async (t) => {
      const { open, write } = setUp(t);
      await write();
      assert.equal((await open()).leftFor(configOf(vault))?.isConfigured, false);
    });
  }

  it('is taken though the addresses have changed', async (t) => {
    const { open, write } = setUp(t);
    await write();
    assert.deepEqual((await open()).leftFor(configOf({ addresses: ['https://b'] }))?.key, key);
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
      assert.equal((await open()).leftFor(configOf()), undefined);
      assert.equal(lines.filter((line) => line.includes('handed over key not taken')).length, 1);
    });
  }
});

describe('the directory for it', () => {
  it('is named once in the log where it cannot be written to, and stops nothing', async (t) => {
    const { dir, lines, log } = setUp(t);
    const file = join(dir, 'missing', HANDOVER_FILE);
    const clock = createDrivenClock();
    const handover = await openHandover({ files: [file], clock, log });
    handover.follow(keyringIn(READY), () => configOf());
    await waitUntil('the line', 5_000, async () => lines.length > 0);
    await clock.advance(60_000);
    await handover.stop();
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /announced key not handed over.*ENOENT/);
  });

  const places: readonly [string, Record<string, string>, readonly string[]][] = [
    ['none is given', {}, []],
    ['a state directory', { STATE_DIRECTORY: '/a' }, ['/a/f']],
    ['the first of two', { STATE_DIRECTORY: '/a:/b' }, ['/a/f']],
    ['a runtime directory', { RUNTIME_DIRECTORY: '/b' }, ['/b/f']],
    [
      'the state directory before the other',
      { STATE_DIRECTORY: '/a', RUNTIME_DIRECTORY: '/b' },
      ['/a/f', '/b/f'],
    ],
    ['one that has both roles', { STATE_DIRECTORY: '/a', RUNTIME_DIRECTORY: '/a' }, ['/a/f']],
    ['none that is relative', { STATE_DIRECTORY: 'a' }, []],
  ];
  for (const [what, env, expected] of places) {
    it(`is the one of the environment: ${what}`, () => {
      assert.deepEqual(stateFiles('f', env), expected);
    });
  }
});

describe('an announced key that was handed over in two places', () => {
  const [first] = description.versions;
  const EARLIER: KeyringState = {
    kind: 'ready',
    key: announce({ ...description, current: first ?? description.current }),
  };
  type Harm = (folder: string) => () => void;
  /** A folder in the place of the file: nothing can be written there, also not by root. */
  const blocked: Harm = (folder) => {
    const file = join(folder, HANDOVER_FILE);
    const content = existsSync(file) ? readFileSync(file) : undefined;
    rmSync(file, { force: true });
    mkdirSync(join(file, 'full'), { recursive: true });
    return () => {
      rmSync(file, { recursive: true });
      if (content !== undefined) writeFileSync(file, content, { mode: 0o600 });
    };
  };

  function twoPlaces(t: TestContext) {
    const { dir, lines, log } = setUp(t);
    const folders = ['state', 'run'].map((name) => join(dir, name));
    for (const folder of folders) mkdirSync(folder);
    const files = folders.map((folder) => join(folder, HANDOVER_FILE));
    const open = () => openHandover({ files, clock: systemClock, log });
    const announced = async (state: KeyringState): Promise<void> => {
      const handover = await open();
      handover.follow(keyringIn(state), () => configOf());
      await handover.stop();
    };
    const left = async () => (await open()).leftFor(configOf())?.key.keyId;
    return { folders, files, lines, open, announced, left };
  }

  it('is the newer one, though the first place could not be written to for a time', async (t) => {
    const { folders, files, lines, announced, left } = twoPlaces(t);
    await announced(EARLIER);
    const unblock = blocked(folders[0] ?? '');
    await announced(READY);
    assert.ok(lines.some((line) => /announced key not handed over.*state/.test(line)));
    unblock();
    assert.equal(files.every(existsSync), true);
    assert.equal(await left(), key.keyId);
  });

  it('leaves no earlier key_id in the other place, where a reboot would bring it back', async (t) => {
    const { folders, files, announced, left } = twoPlaces(t);
    const unblock = blocked(folders[0] ?? '');
    await announced(EARLIER);
    unblock();
    await announced(READY);
    assert.deepEqual(files.map(existsSync), [true, false]);
    assert.equal(await left(), key.keyId);
  });

  it('is taken from the first place where the other one is damaged', async (t) => {
    const { files, announced, left } = twoPlaces(t);
    await announced(READY);
    writeFileSync(files[1] ?? '', 'damaged', { mode: 0o600 });
    assert.equal(await left(), key.keyId);
  });

  it('is taken where a later program has written more into it', async (t) => {
    const { files, announced, left } = twoPlaces(t);
    await announced(READY);
    const [file = ''] = files;
    writeFileSync(file, readFileSync(file, 'utf8').replace('{', '{"more":1,'));
    assert.equal(await left(), key.keyId);
  });

  it('loses what a process that was killed has left beside it, and nothing else', async (t) => {
    const { folders, open } = twoPlaces(t);
    const [folder = ''] = folders;
    const names = [
      `.${HANDOVER_FILE}.0123456789ab`,
      `.${HANDOVER_FILE}.ba9876543210`,
      `.${HANDOVER_FILE}.old`,
      `.other.0123456789ab`,
    ];
    for (const name of names) writeFileSync(join(folder, name), '{');
    const anHourAgo = Date.now() / 1000 - 3_600;
    for (const at of [0, 2, 3]) utimesSync(join(folder, names[at] ?? ''), anHourAgo, anHourAgo);
    await open();
    assert.deepEqual(readdirSync(folder).sort(), names.slice(1).sort());
  });
});

describe('the time of an outage', () => {
  const SINCE = 5_000_000;
  const AWAY = fail('unavailable', 'away').error;
  const states: readonly [string, KeyringState, number | undefined][] = [
    ['in an outage', { kind: 'outage', key, since: SINCE, why: AWAY }, SINCE],
    ['at a start in an outage', { kind: 'starting', key, since: SINCE, why: AWAY }, SINCE],
    ['before the first look', { kind: 'starting', key, since: SINCE, why: undefined }, undefined],
    ['after it', READY, undefined],
  ];
  for (const [what, state, expected] of states) {
    it(`is handed over ${what}, with all that was written before: ${expected}`, async (t) => {
      const { open, write } = setUp(t);
      await write();
      const handover = await open();
      const keyring = keyringIn(state, { sources: () => [], ciphertexts: () => [] });
      handover.follow(keyring, () => configOf());
      await handover.stop();
      const left = (await open()).leftFor(configOf());
      assert.equal(left?.awaySince, expected);
      if (state.kind !== 'ready') assert.deepEqual(left?.sources, SOURCES);
    });
  }
});
