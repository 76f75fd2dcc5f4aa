/** What earlier processes have left in the directory of a socket. */
import { linkSync } from 'node:fs';
import { createServer } from 'node:net';
import { claimName } from '../../src/system/socket-claim.ts';
import type { Round } from './plan.ts';

/** Leaves sockets on which nobody listens, as processes do that were killed. */
export async function leave(what: Round['before'], path: string): Promise<void> {
  switch (what) {
    case 'nothing':
      return;
    case 'stale':
      return await leaveStale(path);
    case 'left over': {
      const bound = claimName(path, '0123abcd');
      for (const name of [path, bound, `${bound}n`]) await leaveStale(name);
    }
  }
}

/** Node unlinks what it has bound when it closes it, under the name that it had. */
async function leaveStale(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.bound`, resolve));
  linkSync(`${path}.bound`, path);
  await new Promise((resolve) => server.close(resolve));
}
