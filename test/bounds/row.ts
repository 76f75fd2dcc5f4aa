/** What a row of the limits table is driven with. */
import assert from 'node:assert/strict';
import type { FakeReply, FakeVault } from '../daemon/fake-vault.ts';
import { openConnection, type RawConnection } from '../fuzz/raw-connection.ts';
import type { Plugin } from '../servers/plugin.ts';
import { waitUntil } from '../servers/wait-until.ts';
import { callsOf, endedOf, endsOf, HELLO, leave, NOTHING, OK, STATUS } from './clients.ts';

/** To the bound, where nobody is refused, and far beyond it. */
export type Times = 1 | 10;

export type BoundRow = {
  /** Sends so many times the bound, and asserts what the caller gets. */
  readonly drive: (plugin: Plugin, times: Times, vault: FakeVault) => Promise<void>;
  /** With a Vault, and not a keyring of its own. */
  readonly onVault?: boolean;
  readonly config?: object;
  readonly replyTo?: (path: string, body: unknown) => Promise<FakeReply | undefined>;
  /** The provider is kept from answering, and Status may say so. */
  readonly mayBeAway?: boolean;
  /** Takes longer than `make test` has time for: `make bounds` drives it. */
  readonly isLong?: boolean;
};

export const ENDS_MS = 120_000;

/** Resolves when so many streams have ended. */
export function allEnded(all: readonly RawConnection[], count: number): Promise<void> {
  return waitUntil('the end of every call', ENDS_MS, () => endedOf(all) === count);
}

/** Fails where a stream has ended in another way than these. */
export function assertEnds(all: readonly RawConnection[], ...allowed: readonly string[]): void {
  for (const [end, count] of endsOf(all)) assert.ok(allowed.includes(end), `${count} × ${end}`);
}

/** A new connection is served. */
export async function assertServed({ socket }: Plugin): Promise<void> {
  const one = await openConnection(socket);
  one.socket.write(Buffer.concat([HELLO, callsOf([1], STATUS, () => NOTHING)]));
  await one.until(() => one.ends.has(1));
  assert.equal(one.ends.get(1), OK);
  await leave([one]);
}
