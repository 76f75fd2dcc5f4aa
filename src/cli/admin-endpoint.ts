/**
 * The admin endpoint beside the KMS socket: an optional part. Where its socket or port cannot be had,
 * that is logged and tried again, and the KMS calls are served all the same.
 */
import type { Server } from 'node:net';
import type { ResolvedConfig } from '../config/environment.ts';
import { createAdminServer, type Readiness } from '../observe/admin.ts';
import type { Log } from '../observe/log.ts';
import { type Clock, sleep } from '../system/clock.ts';
import { type ServedSocket, serveOnSocket } from '../system/unix-socket.ts';

export type AdminEndpoint = { stop(): Promise<void> };

export type AdminEndpointOptions = {
  readonly admin: ResolvedConfig['admin'];
  /** As `listen.sharedDirectory`: its socket lies beside that for kube-apiserver. */
  readonly shared: boolean;
  readonly readiness: () => Readiness;
  readonly clock: Clock;
  readonly log: Log;
};

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;

type Opened = Pick<ServedSocket, 'close'> | { readonly problem: string };

/** Begins to listen, and answers at once. */
export function startAdminEndpoint(options: AdminEndpointOptions): AdminEndpoint {
  const { admin, clock, log } = options;
  const stopping = new AbortController();
  if (admin.socket === undefined && admin.address === undefined) {
    return { stop: async () => undefined };
  }

  const keepTrying = async (): Promise<Opened> => {
    let said: string | undefined;
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      const opened = await open(options, stopping.signal);
      if (!('problem' in opened)) {
        if (said !== undefined) log.info?.('the admin endpoint answers');
        return opened;
      }
      if (opened.problem !== said)
        log.warn?.('no admin endpoint: it is tried again', { why: opened.problem });
      said = opened.problem;
      if (!(await sleep(clock, wait, stopping.signal))) return opened;
    }
  };
  const opening = keepTrying();
  return {
    async stop() {
      stopping.abort();
      const opened = await opening;
      if (!('problem' in opened)) await opened.close();
    },
  };
}

async function open(options: AdminEndpointOptions, signal: AbortSignal): Promise<Opened> {
  const { admin, shared, clock, log } = options;
  const failed = (why: string): void =>
    log.debug?.('the admin endpoint could not accept a connection', { why });
  const create = (): Server => createAdminServer({ ...options, signal });
  try {
    if (admin.address !== undefined) return await openPort(create(), admin.address, failed);
    if (admin.socket === undefined) return { problem: 'there is no admin.socket' };
    return await serveOnSocket(create, {
      ...{ path: admin.socket, mode: 0o600, group: undefined, shared, clock, failed },
      changed: (why) =>
        why === undefined
          ? log.info?.('admin.socket can be reached again')
          : log.warn?.('admin.socket cannot be reached', { why }),
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { problem: code ?? message };
  }
}

/** What a person has to do about a port; errno(3). */
function reason(code: string | undefined): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `${code}: another program listens there: end it, or name another port`;
    case 'EADDRNOTAVAIL':
      return `${code}: this machine does not have that address`;
    case 'EACCES':
      return `${code}: ports below 1024 are for root: name another one`;
    default:
      return code;
  }
}

function openPort(server: Server, address: string, failed: (why: string) => void): Promise<Opened> {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    const onError = ({ code, message }: NodeJS.ErrnoException): void =>
      resolve({ problem: `cannot listen on admin.address ${address}: ${reason(code) ?? message}` });
    server.once('error', onError);
    server.listen(Number(address.slice(at + 1)), host, () => {
      server.off('error', onError);
      server.on('error', ({ message }) => failed(message));
      resolve({ close: () => new Promise((closed) => server.close(() => closed())) });
    });
  });
}
