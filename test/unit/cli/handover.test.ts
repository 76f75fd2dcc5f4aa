/** What is handed over to the process after a restart, and what is not taken from a file. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  copyFileSync,
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
import { writeFileAtomically } from '../../../src/system/files.ts';
import { type ReplaceFile, stateFiles } from '../../../src/system/state-file.ts';
import { waitUntil } from '../../servers/wait-until.ts';
import { createDrivenClock, settle } from '../driven-clock.ts';
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
const SOCKET = '/run/trousseau/kms.sock';
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

const LOST = {
  kind: 'lost',
  key,
  wasReady: true,
  since: 0,
  why: fail('denied', 'lost').error,
  instead: { key: announce({ ...description, path: ['other'] }), how: 'replaced' },
} as const satisfies KeyringState;

const REFUSED = {
  ...{ kind: 'refused', key, wasReady: true, since: 0 },
  why: fail('denied', 'no').error,
} as const satisfies KeyringState;

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
  const open = (clock = systemClock, socket = SOCKET) =>
    openHandover({ files: [file], socket, clock, log });
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
      ...{
        key,
        isConfigured: true,
        sample: SAMPLE.ciphertext,
        awaySince: undefined,
        stopped: undefined,
      },
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
    const { file, log, open } = setUp(t);
    const clock = createDrivenClock();
    let writes = 0;
    // One that is under way while the clock moves on would take too long.
    const replace: ReplaceFile = async (...write) => {
      await writeFileAtomically(...write);
      writes += 1;
    };
    const handover = await openHandover({ files: [file], socket: SOCKET, clock, log, replace });
    let asked = 0;
    const ciphertexts = () => {
      asked += 1;
      return [Buffer.from(`vault:v2:${asked}`)];
    };
    handover.follow(keyringIn(READY, { sources: () => [], ciphertexts }), () => configOf());
    await waitUntil('the file', 5_000, async () => writes === 1);
    await settle();
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
    ...[REFUSED, LOST],
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

describe('a file that was handed over belongs to one socket', () => {
  const sockets: readonly [string, (dir: string) => readonly [string, string], boolean][] = [
    ['of the same socket', () => [SOCKET, SOCKET], true],
    ['of another socket', () => ['/run/a/kms.sock', '/run/b/kms.sock'], false],
    ['of another socket in the same directory', () => ['/run/a/1.sock', '/run/a/2.sock'], false],
    ['of the same socket by a link', (dir) => [`${dir}/run/kms.sock`, `${dir}/var/kms.sock`], true],
  ];
  for (const [what, pathsIn, isTaken] of sockets) {
    it(`${isTaken ? 'it is taken' : 'it is not taken, and the log names both'} where it is ${what}`, async (t) => {
      const { dir, lines, open } = setUp(t);
      mkdirSync(join(dir, 'run'));
      symlinkSync('run', join(dir, 'var'));
      const [before, after] = pathsIn(dir);
      const handover = await open(systemClock, before);
      handover.follow(keyringIn(READY), () => configOf());
      await handover.stop();
      const left = (await open(systemClock, after)).leftFor(configOf());
      assert.equal(left?.key.keyId, isTaken ? key.keyId : undefined);
      const said = lines.map((line) => JSON.parse(line).why);
      if (isTaken) assert.deepEqual(said, []);
      else
        assert.match(
          said.join(),
          /^it is of a plugin that served ".*\.sock", and this one serves ".*\.sock": where both .* STATE_DIRECTORY/,
        );
    });
  }

  it('it is taken where an earlier version, which names no socket, has written it', async (t) => {
    const { file, open, write } = setUp(t);
    await write();
    const { socket, ...rest } = JSON.parse(readFileSync(file, 'utf8'));
    assert.equal(socket, SOCKET);
    writeFileSync(file, JSON.stringify(rest), { mode: 0o600 });
    assert.equal((await open()).leftFor(configOf())?.key.keyId, key.keyId);
  });
});

describe('a process of root in the directory of the user of the service', () => {
  const USER = 65_534;
  const ownersOf = (...paths: readonly string[]) => paths.map((path) => statSync(path).uid);
  const files: readonly [string, number | undefined][] = [
    ['no file', undefined],
    ["the user's file", USER],
    ["a file of root's", 0],
  ];
  // Only root can make a directory of somebody else.
  for (const [what, owner] of process.getuid?.() === 0 ? files : []) {
    it(`takes what is there and leaves a file of that user, where there is ${what}`, async (t) => {
      const { dir, file, lines, open, write } = setUp(t);
      chownSync(dir, USER, USER);
      if (owner !== undefined) {
        await write();
        chownSync(file, owner, owner);
        assert.equal((await open()).leftFor(configOf())?.key.keyId, key.keyId);
      }
      const handover = await open();
      await handover.announcing(key, undefined, configOf());
      assert.deepEqual(ownersOf(file, dir), [USER, USER]);
      assert.equal((await open()).leftFor(configOf())?.key.keyId, key.keyId);
      assert.deepEqual(lines, []);
    });
  }
});

describe('the directory for it', () => {
  it('is named once in the log where it cannot be written to, and stops nothing', async (t) => {
    const { dir, lines, log } = setUp(t);
    const file = join(dir, 'missing', HANDOVER_FILE);
    const clock = createDrivenClock();
    const handover = await openHandover({ files: [file], socket: SOCKET, clock, log });
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
    const open = (replace?: ReplaceFile) =>
      openHandover({ files, socket: SOCKET, clock: systemClock, log, replace });
    const announced = async (state: KeyringState, replace?: ReplaceFile): Promise<void> => {
      const handover = await open(replace);
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
    const said = lines.filter((line) => !line.includes('handed over key not taken'));
    assert.equal(said.length, 1);
    assert.match(said[0] ?? '', /announced key not written here.*state.*EISDIR.*"instead":".*run/);
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

  /** As a full disk does: a new file finds no room while there is another one. */
  const fullDisk: ReplaceFile = async (path, text, mode) => {
    if (existsSync(path)) throw Object.assign(new Error('ENOSPC: no space'), { code: 'ENOSPC' });
    await writeFileAtomically(path, text, mode);
  };
  const fullForAll: ReplaceFile = async () => {
    throw Object.assign(new Error('ENOSPC: no space'), { code: 'ENOSPC' });
  };

  it('is written on full disks in the place of an earlier one', async (t) => {
    const { files, lines, announced, left } = twoPlaces(t);
    await announced(EARLIER);
    const [state = '', run = ''] = files;
    copyFileSync(state, run);
    const later: KeyringState = {
      kind: 'ready',
      key: announce({ ...description, minDecryptionVersion: 2 }),
    };
    await announced(later, fullDisk);
    assert.equal(await left(), key.keyId);
    assert.deepEqual(lines, []);
  });

  it('leaves no earlier one on disks that stay full, and the log says what a restart has then', async (t) => {
    const { files, lines, open, announced, left } = twoPlaces(t);
    await announced(EARLIER);
    const handover = await open(fullForAll);
    await handover.announcing(key, SAMPLE, configOf());
    handover.follow(keyringIn(READY), () => configOf());
    await handover.stop();
    assert.deepEqual(files.map(existsSync), [false, false]);
    assert.equal(await left(), undefined);
    assert.equal(lines.length, 1);
    const each = files.map((file) => `${file}: ENOSPC: no space is left on its file system`);
    const { level, msg, why, effect } = JSON.parse(lines[0] ?? '');
    assert.deepEqual(
      [level, msg, why, effect],
      [
        'warn',
        'announced key not handed over',
        each.join('; '),
        'after a restart in an outage of the provider, Status has no key_id until the provider is reached',
      ],
    );
  });

  it('is said to be handed over again once a disk has room', async (t) => {
    const { files, lines, open, left } = twoPlaces(t);
    let isFull = true;
    const handover = await open((...write) =>
      isFull ? fullForAll(...write) : writeFileAtomically(...write),
    );
    await handover.announcing(key, SAMPLE, configOf());
    isFull = false;
    await handover.announcing(key, SAMPLE, configOf());
    assert.equal(await left(), key.keyId);
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)).map(({ msg, file }) => [msg, file]),
      [
        ['announced key not handed over', undefined],
        ['announced key handed over again', files[0]],
      ],
    );
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

describe('what stops writes', () => {
  const AWAY: KeyringState = {
    ...{ kind: 'outage', key, since: 0 },
    why: fail('unavailable', 'away').error,
  };
  for (const state of [LOST, REFUSED]) {
    it(`is handed over with all that was written before, until the key is there again: ${state.kind}`, async (t) => {
      const { open, write } = setUp(t);
      for (const [next, stopped] of [
        [READY, undefined],
        [state, state.kind],
        [{ kind: 'starting', since: 0, why: undefined }, state.kind],
        [{ ...REFUSED, key: undefined }, state.kind],
        [READY, undefined],
        [state, state.kind],
        [AWAY, undefined], // which follows on a key that was there
      ] as const) {
        await write(next);
        const left = (await open()).leftFor(configOf());
        assert.equal(left?.stopped, stopped, next.kind);
        assert.equal(left?.key.keyId, key.keyId);
        assert.deepEqual(left?.sources, SOURCES);
      }
    });

    it(`changes nothing for another key than the one that was handed over: ${state.kind}`, async (t) => {
      const { open, write } = setUp(t);
      await write();
      await write({ ...state, key: announce({ ...description, path: ['other'] }) });
      assert.equal((await open()).leftFor(configOf())?.stopped, undefined);
    });
  }
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
