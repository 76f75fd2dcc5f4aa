import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type Account, accountIn, unreadableFor } from '../../../src/config/service-user.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const PASSWD = 'root:x:0:0::/root:/bin/sh\ntrousseau:x:990:980::/:/usr/sbin/nologin\n';
const GROUP = 'root:x:0:\ntrousseau:x:980:\ntrousseau-kms:x:981:kube,trousseau\nother:x:982:kube\n';

describe('the account of the service', () => {
  it('has its own group, and those that list it', () => {
    const account = accountIn(PASSWD, GROUP, 'trousseau');
    assert.deepEqual(account, {
      name: 'trousseau',
      group: 'trousseau',
      uid: 990,
      gids: new Set([980, 981]),
    });
    assert.equal(accountIn(PASSWD, '', 'trousseau')?.group, '980');
    assert.equal(accountIn(PASSWD, GROUP, 'trouss'), undefined);
  });
});

describe('a file is unreadable for an account', () => {
  /** Whose files these are decides which account is a stranger. */
  const accounts = (file: string): Readonly<Record<'owner' | 'group' | 'stranger', Account>> => {
    const { uid, gid } = statSync(file);
    const [otherUid, otherGid] = [uid + 4242, gid + 4242];
    return {
      owner: { name: 'a', group: 'a', uid, gids: new Set([otherGid]) },
      group: { name: 'b', group: 'b', uid: otherUid, gids: new Set([gid, otherGid]) },
      stranger: { name: 'c', group: 'kms', uid: otherUid, gids: new Set([otherGid]) },
    };
  };

  it('as its mode, and the modes of the folders above it, say', async (t) => {
    const root = temporaryFolder(t);
    chmodSync(root, 0o755);
    const folder = join(root, 'etc');
    const file = join(folder, 'secret');
    mkdirSync(folder);
    writeFileSync(file, '');
    symlinkSync(file, join(root, 'link'));
    const cases: readonly (readonly [number, number, 'group' | 'stranger', RegExp | undefined])[] =
      [
        [0o750, 0o640, 'group', undefined],
        [0o750, 0o640, 'stranger', /may not pass .*\/etc \(mode 0750/],
        [0o755, 0o640, 'stranger', /may not read it \(mode 0640.*chgrp kms .*chmod 0640/],
        [0o755, 0o600, 'group', /may not read it \(mode 0600/],
        [0o700, 0o644, 'group', /may not pass/],
        // The class of the group counts, also where others may do more.
        [0o755, 0o604, 'group', /may not read it/],
        [0o711, 0o644, 'stranger', undefined],
      ];
    for (const [folderMode, mode, who, why] of cases) {
      chmodSync(folder, folderMode);
      chmodSync(file, mode);
      for (const path of [file, join(root, 'link')]) {
        const said = await unreadableFor(accounts(file)[who], path);
        const what = `${who} ${folderMode.toString(8)} ${mode.toString(8)}`;
        if (why === undefined) assert.equal(said, undefined, what);
        else assert.match(said ?? '', why, what);
      }
    }
  });

  it('never where it is root, and not where it is not there', async (t) => {
    const file = join(temporaryFolder(t), 'secret');
    writeFileSync(file, '', { mode: 0 });
    const root = { name: 'root', group: 'root', uid: 0, gids: new Set([0]) };
    assert.equal(await unreadableFor(root, file), undefined);
    assert.equal(await unreadableFor(accounts(file).stranger, `${file}-absent`), undefined);
  });
});
