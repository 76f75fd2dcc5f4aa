/**
 * The admin endpoint, on a unix socket or a loopback port: `/livez` for what restarts the process,
 * `/readyz` for what sends it work. The bodies hold states and sentences, never secrets.
 *
 * Any user of the machine may connect to a port. So a connection is answered once and closed, its
 * request is read only as far as its header, and what takes work is computed at a bounded rate: HTTP
 * clients that misbehave must not take the event loop from the KMS calls.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../system/clock.ts';
import { type AdminRequest, parseAdminRequest } from './admin-request.ts';
import { escapeUnprintable } from './printable.ts';

/** Whether the process can serve, and what a person wants to know of it. */
export type Readiness = {
  readonly ready: boolean;
  readonly detail: Readonly<Record<string, unknown>>;
};

export type AdminOptions = {
  readonly readiness: () => Readiness;
  readonly clock: Clock;
  /** Ends what is still connected. */
  readonly signal: AbortSignal;
};

export const REQUEST_LIMIT_MS = 5_000;
/** Enough that a probe is answered before as many others have connected after it. */
export const MAX_CONNECTIONS = 128;
/** Beyond it, `/readyz` is what it was last: a probe gets an answer however often others ask. */
export const COMPUTED_PER_SECOND = 10;

const REASONS = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  421: 'Misdirected Request',
  431: 'Request Header Fields Too Large',
  503: 'Service Unavailable',
} as const;

type Reply = { readonly code: keyof typeof REASONS; readonly body: string };

const LIVE = reply(200, { status: 'ok' });

/** A server that has not been bound yet; what makes it must close it. */
export function createAdminServer({ readiness, clock, signal }: AdminOptions): Server {
  const readyz = boundedReadyz(readiness, clock);
  const connections = new Set<Socket>();
  signal.addEventListener('abort', () => {
    for (const socket of connections) socket.destroy();
  });

  const answer = (request: AdminRequest, isLocal: boolean): Reply => {
    switch (request.kind) {
      case 'incomplete':
      case 'too long':
        return reply(431, { error: 'the header of the request is too long' });
      case 'malformed':
        return reply(400, { error: request.why });
      case 'other method':
        return reply(405, { error: 'only GET is answered here' });
      case 'request':
        if (!isLocal && !request.loopbackHost) {
          return reply(421, { error: 'Host must name this machine, as localhost or 127.0.0.1 do' });
        }
        if (request.path === '/livez') return LIVE;
        if (request.path === '/readyz') return readyz();
        return reply(404, { error: 'there is /livez and /readyz' });
    }
  };

  return createServer((socket) => {
    connections.add(socket);
    const [longest] = connections;
    // The others have had their time: a new one may be the probe that restarts the process.
    if (connections.size > MAX_CONNECTIONS) longest?.destroy();
    const limit = clock.setTimer(REQUEST_LIMIT_MS, () => socket.destroy());
    let text = '';
    const onData = (data: Buffer): void => {
      text += data.toString('latin1');
      const request = parseAdminRequest(text);
      if (request.kind === 'incomplete') return;
      socket.off('data', onData).pause();
      const isHead = request.kind === 'request' && request.isHead;
      const isLocal = socket.remoteAddress === undefined;
      socket.end(render(answer(request, isLocal), isHead), () => socket.destroy());
    };
    socket
      .on('data', onData)
      .on('error', () => socket.destroy())
      .once('close', () => {
        limit.cancel();
        connections.delete(socket);
      });
  });
}

function boundedReadyz(readiness: () => Readiness, clock: Clock): () => Reply {
  let last: Reply | undefined;
  let second = 0;
  let computed = 0;
  return () => {
    const now = Math.floor(clock.now() / 1_000);
    if (now !== second) computed = 0;
    second = now;
    if (last !== undefined && computed >= COMPUTED_PER_SECOND) return last;
    computed += 1;
    const { ready, detail } = readiness();
    last = reply(ready ? 200 : 503, { status: ready ? 'ok' : 'not ready', ...detail });
    return last;
  };
}

function reply(code: Reply['code'], body: object): Reply {
  return { code, body: `${escapeUnprintable(JSON.stringify(body))}\n` };
}

function render({ code, body }: Reply, isHead: boolean): string {
  const head = [
    `HTTP/1.1 ${code} ${REASONS[code]}`,
    `date: ${new Date().toUTCString()}`,
    'content-type: application/json',
    'cache-control: no-store',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ].join('\r\n');
  return `${head}\r\n\r\n${isHead ? '' : body}`;
}
