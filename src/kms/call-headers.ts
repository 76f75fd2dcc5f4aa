/** What is kept of a call's headers: grpc-js keeps all that it gets for as long as a call lasts. */
import type { IncomingHttpHeaders } from 'node:http2';
import { boundedTimeout } from './deadline.ts';

/** How that of every call of gRPC begins. */
const CONTENT_TYPE = 'application/grpc';

/** The length of those headers that stay for as long as a call lasts. */
export function keptBytesOf(headers: IncomingHttpHeaders): number {
  const { ':path': path = '', ':authority': authority = '', host = '' } = headers;
  return path.length + authority.length + host.length;
}

/** The headers that grpc-js needs, of a call that has waited for so long. */
export function neededOf(headers: IncomingHttpHeaders, waitedMs = 0): IncomingHttpHeaders {
  const timeout = headers['grpc-timeout'];
  const isGrpc = headers['content-type']?.startsWith(CONTENT_TYPE) === true;
  const needed: IncomingHttpHeaders = {
    ':path': headers[':path'],
    ':authority': headers[':authority'] ?? headers.host,
    'content-type': isGrpc ? CONTENT_TYPE : undefined,
  };
  if (timeout !== undefined) needed['grpc-timeout'] = boundedTimeout(String(timeout), waitedMs);
  return needed;
}
