import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { describe, it } from 'node:test';
import {
  boundPath,
  descriptorKind,
  kindInTable,
  pathInTable,
} from '../../../src/system/unix-table.ts';

describe('what a file descriptor is', () => {
  const table = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 11 /run/trousseau/kms.sock
0000000000000000: 00000003 00000000 00000000 0001 03 12
0000000000000000: 00000002 00000000 00000000 0002 01 13 /run/systemd/notify
0000000000000000: 00000002 00000000 00010000 0005 01 14 /run/udev/control
`;
  for (const [inode, kind] of [
    [11, 'listening'],
    [12, 'other'],
    [13, 'other'],
    [14, 'other'],
    [15, 'unlisted'],
  ] as const)
    it(`reads from the kernel's table: ${inode} is ${kind}`, () =>
      assert.equal(kindInTable(table, inode), kind));

  // A real listening socket: test/daemon/inherited-socket.test.ts.
  it('sees a file, and what is not open', () => {
    const file = openSync('/dev/null', 'r');
    assert.equal(descriptorKind(file), 'other');
    closeSync(file);
    assert.equal(descriptorKind(9_999), 'closed');
  });
});

describe('the path of an inherited socket', () => {
  it('is unknown of what is no socket, or not open', () => {
    assert.deepEqual([boundPath(0), boundPath(1_000_000)], [undefined, undefined]);
  });

  it('is read from the table, spaces and all', () => {
    const table = `Num       RefCount Protocol Flags    Type St Inode Path
00000000d7f3f1cd: 00000002 00000000 00010000 0001 01 10 /run/trousseau/kms.sock
00000000d7f3f1ce: 00000003 00000000 00000000 0001 03 11
00000000d7f3f1cf: 00000002 00000000 00010000 0001 01 12 /run/a b/kms.sock
00000000d7f3f1d0: 00000002 00000000 00010000 0001 01 13 @abstract
`;
    assert.deepEqual(
      [10, 11, 12, 13, 14].map((inode) => pathInTable(table, inode)),
      ['/run/trousseau/kms.sock', undefined, '/run/a b/kms.sock', '@abstract', undefined],
    );
  });
});
