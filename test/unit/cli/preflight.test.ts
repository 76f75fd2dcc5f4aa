import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { readRunning } from '../../../src/cli/admin-client.ts';
import { compare } from '../../../src/cli/preflight/proof.ts';
import { proveSocket } from '../../../src/cli/preflight/socket.ts';
import { statusSentence } from '../../../src/cli/service-manager.ts';
import { keyId } from '../../../src/keyring/key-id.ts';
import { announce } from '../../../src/keyring/state.ts';
import type { KeyDescription, KeyVersion } from '../../../src/providers/provider.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const PATH = ['local', 'ring'];
const V1 = { version: 1, createdAt: 1_000 };
const V2 = { version: 2, createdAt: 2_000 };
const V3 = { version: 3, createdAt: 3_000 };

function key(versions: readonly KeyVersion[], path = PATH, minDecryptionVersion = 1) {
  const current = versions.at(-1);
  assert.ok(current !== undefined);
  const facts = { type: 'aes256-gcm', deletable: true, exportable: true };
  return { path, versions, current, minDecryptionVersion, facts } satisfies KeyDescription;
}

function idsOf(...keys: readonly KeyDescription[]): readonly string[] {
  return keys.flatMap(({ path, versions }) => versions.map((version) => keyId(path, version)));
}

describe('the key versions of a successor', () => {
  const running = key([V1, V2]);
  const cases: Readonly<Record<string, [successor: KeyDescription[], proved: boolean]>> = {
    'are the same': [[key([V1, V2])], true],
    'are more: it was rotated meanwhile': [[key([V1, V2, V3])], true],
    'are with another provider of the configuration': [[key([V1], ['vault']), running], true],
    'lack the newest: an older copy': [[key([V1])], false],
    'lack an older one': [[key([V2])], false],
    'are of another key with the same numbers': [
      [key([V1, { version: 2, createdAt: 2_001 }])],
      false,
    ],
    'are of another keyring': [[key([V1, V2], ['local', 'new'])], false],
    'are not for decrypting any more': [[key([V1, V2], PATH, 2)], false],
    'are none': [[], false],
  };
  for (const [title, [successor, proved]] of Object.entries(cases)) {
    it(title, () => {
      const step = compare(successor, { keyIds: idsOf(running), incomplete: undefined }, true);
      assert.equal(step.ok, proved, step.what);
    });
  }

  it('are compared with nothing where nothing runs, with a process that is silent never, and what is not compared is named', () => {
    assert.equal(compare([running], undefined, false).ok, true);
    assert.equal(compare([running], undefined, true).ok, false);
    const partly = compare([running], { keyIds: idsOf(key([V2])), incomplete: 'older ones' }, true);
    assert.match(partly.what, /all 1 of its key versions; not compared: older ones/);
  });
});

describe('the answer of a running process', () => {
  const cases: Readonly<Record<string, [body: string, read: unknown]>> = {
    'without a key yet': [
      '{"status":"not ready","state":"starting","keyIds":[]}',
      { keyId: undefined, keyIds: [], reloadRequests: undefined, reload: undefined },
    ],
    'of an older version': [
      '{"status":"ok","state":"ready","keyId":"k","keyVersion":1,"reload":{"at":"t","ok":false,"why":"w"}}',
      {
        ...{ keyId: 'k', keyIds: undefined, reloadRequests: undefined },
        reload: { at: 't', ok: false, why: 'w', requests: undefined },
      },
    ],
    'that counts the requests for a reload': [
      '{"state":"ready","keyId":"k","reloadRequests":3,"reload":{"at":"t","ok":true,"requests":2}}',
      {
        ...{ keyId: 'k', keyIds: undefined, reloadRequests: 3 },
        reload: { at: 't', ok: true, why: undefined, requests: 2 },
      },
    ],
    'of another program': ['{"status":"ok"}', undefined],
    'that is no JSON': ['<html>', undefined],
    'that is no object': ['null', undefined],
  };
  for (const [title, [body, read]] of Object.entries(cases)) {
    it(title, () => assert.deepEqual(readRunning(body), read));
  }
});

describe('the status of the service', () => {
  const ready = { kind: 'ready', key: announce(key([V1])) } as const;
  it('names a provider that only decrypts and refuses to, and none that is away', () => {
    const trouble = (kind: 'denied' | 'unavailable') => ({
      ...{ provider: 'old', error: { kind, message: `it is ${kind}` }, since: 0 },
    });
    const said = (kind: 'denied' | 'unavailable'): string =>
      statusSentence(ready, systemClock, undefined, undefined, [trouble(kind)]);
    assert.match(said('denied'), /^ready, .*; old, which only decrypts, refuses: it is denied$/);
    assert.match(said('unavailable'), /^ready, encrypting with local:v1:\w+$/);
  });

  it('names a reload that was refused, until one succeeds', () => {
    const at = '2026-01-01T00:00:00.000Z';
    assert.match(
      statusSentence(ready, systemClock, { at, ok: false, why: 'config.yaml:3: no', requests: 1 }),
      /^ready, encrypting with local:v1:\w+; the last reload was refused at 2026-\S+: config\.yaml:3: no$/,
    );
    for (const reload of [undefined, { at, ok: true, why: 'a warning', requests: 2 }])
      assert.match(
        statusSentence(ready, systemClock, reload),
        /^ready, encrypting with local:v1:\w+$/,
      );
  });
});

type SocketCase = {
  /** What was done to the socket since it was made, or to its directory. */
  readonly change?: (dir: string, socket: string) => void;
  readonly group?: string;
  readonly shared?: boolean;
  /** Undefined where it can be served. */
  readonly refused?: RegExp;
};

const HANDED_OVER: Readonly<Record<string, SocketCase>> = {
  'is as it was made': {},
  'can be used by everybody': {
    change: (_dir, socket) => chmodSync(socket, 0o666),
    refused:
      /^the socket that systemd hands over at .* everybody \(mode 0666\): set SocketMode=0660 .* and chmod 0660 \S+kms\.sock now$/,
  },
  'was removed': {
    change: (_dir, socket) => rmSync(socket),
    refused: /there is no socket at .*run\/kms\.sock: systemctl restart trousseau\.socket$/,
  },
  'was replaced by a file': {
    change(_dir, socket) {
      rmSync(socket);
      writeFileSync(socket, '');
    },
    refused: /there is no socket at/,
  },
  'is in a directory that everybody may write to': {
    change: (dir) => chmodSync(join(dir, 'run'), 0o777),
    refused: /run can be written by others/,
  },
  'is in such a directory, which is shared on purpose': {
    change: (dir) => chmodSync(join(dir, 'run'), 0o777),
    shared: true,
  },
};

/** What is made by the process itself may be there already, from the one that runs. */
const MADE: Readonly<Record<string, SocketCase>> = {
  'is there from the process that runs': {},
  'can be used by everybody, and is made again': {
    change: (_dir, socket) => chmodSync(socket, 0o666),
  },
  'is not there': { change: (_dir, socket) => rmSync(socket) },
  'is in a directory that is not there': {
    change: (dir) => rmSync(join(dir, 'run'), { recursive: true }),
  },
  'is in a directory above which there is none': {
    change: (dir) => rmSync(dir, { recursive: true }),
    refused: /^cannot listen on .*run\/kms\.sock: ENOENT: the directory above it does not exist/,
  },
  'is in a directory that everybody may write to': {
    change: (dir) => chmodSync(join(dir, 'run'), 0o777),
    refused: /run can be written by others/,
  },
  'is in a file': {
    change(dir) {
      rmSync(join(dir, 'run'), { recursive: true });
      writeFileSync(join(dir, 'run'), '');
    },
    refused: /run is not a directory|ENOTDIR: a part of its path is not a directory/,
  },
  'has a file in its place': {
    change(_dir, socket) {
      rmSync(socket);
      writeFileSync(socket, '');
    },
    refused: /kms\.sock exists and is not a socket/,
  },
  'has a link in its place': {
    change(_dir, socket) {
      rmSync(socket);
      symlinkSync('/dev/null', socket);
    },
    refused: /kms\.sock exists and is a symbolic link/,
  },
  'is to have a group that does not exist': {
    group: 'no-such-group-of-the-tests',
    refused: /group no-such-group-of-the-tests of socket .* is not in \/etc\/group/,
  },
};

describe('the socket of a successor', () => {
  const prove = async (t: TestContext, one: SocketCase, isInherited: boolean): Promise<void> => {
    const dir = join(temporaryFolder(t), 'node');
    mkdirSync(join(dir, 'run'), { recursive: true, mode: 0o755 });
    const socket = join(dir, 'run/kms.sock');
    const running = createServer().listen(socket);
    await once(running, 'listening');
    t.after(() => running.close());
    chmodSync(socket, 0o660);
    one.change?.(dir, socket);
    const { group, shared = false } = one;
    const listen = { apis: ['v2' as const], mode: 0o660, sharedDirectory: shared, group };
    const { step, ok, what } = isInherited
      ? proveSocket({ ...listen, socket: join(dir, 'another.sock') }, socket)
      : proveSocket({ ...listen, socket }, undefined);
    assert.deepEqual([step, ok], ['socket', one.refused === undefined], what);
    assert.match(what, one.refused ?? /run\/kms\.sock can be served$/);
  };
  for (const [title, one] of Object.entries(HANDED_OVER))
    it(`which systemd hands over, ${title}`, (t) => prove(t, one, true));
  for (const [title, one] of Object.entries(MADE))
    it(`which it makes itself, ${title}`, (t) => prove(t, one, false));
});
