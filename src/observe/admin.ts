/**
 * The admin endpoint, on a unix socket or a loopback port: `/livez` for whoever restarts the
 * process, `/readyz` for whoever sends it work. The bodies hold states and sentences, never secrets.
 */
import { createServer, type RequestListener, type Server } from 'node:http';

/** Whether the process can serve, and what a person wants to know of it. */
export type Readiness = {
  readonly ready: boolean;
  readonly detail: Readonly<Record<string, unknown>>;
};

const MAX_HEADER_BYTES = 4096;
const REQUEST_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 32;

/** An HTTP server that has not been bound yet; whoever makes it must close it. */
export function createAdminServer(readiness: () => Readiness): Server {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
    },
    answer(readiness),
  );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

function answer(readiness: () => Readiness): RequestListener {
  return (request, response) => {
    const send = (code: number, body: object): void => {
      response.writeHead(code, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      response.end(`${JSON.stringify(body)}\n`);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      send(405, { error: 'only GET is answered here' });
      return;
    }
    switch (request.url?.split('?')[0]) {
      case '/livez':
        return send(200, { status: 'ok' });
      case '/readyz': {
        const { ready, detail } = readiness();
        return send(ready ? 200 : 503, { status: ready ? 'ok' : 'not ready', ...detail });
      }
      default:
        return send(404, { error: 'there is /livez and /readyz' });
    }
  };
}
