/**
 * grpc-js' server on connections that are handed to it, with one guard before it: every stream passes
 * here before grpc-js handles it, and nothing that a client does to a stream becomes an exception.
 *
 * grpc-js calls methods of a stream that throw where its client has reset it in the meantime: for a
 * method that is not served, and for a request that is not gRPC. Nobody could catch that exception.
 */
import {
  constants,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';

export type GrpcServer = {
  /** Where methods are added. */
  readonly grpc: Server;
  /** The HTTP/2 sessions that are open. */
  readonly sessions: ReadonlySet<Http2Session>;
  /** Takes in one connection, from the first byte of the HTTP/2 preface on. */
  connect(stream: Duplex): void;
};

/** Learns why a stream was reset instead of answered, where its client was not the reason. */
export type OnFailure = (error: unknown) => void;

type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** A server without methods. */
export function createGrpcServer(options: ServerOptions, failed: OnFailure): GrpcServer {
  const grpc = new Server(options);
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const http2 = http2ServerOf(grpc);
  const sessions = new Set<Http2Session>();
  http2.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  const [handle] = http2.listeners('stream') as StreamHandler[];
  if (handle === undefined) throw new Error('grpc-js does not listen for streams');
  http2.removeAllListeners('stream');
  http2.on('stream', (stream, headers) => {
    guard(stream, failed);
    try {
      handle(stream, headers);
    } catch (error) {
      reset(stream, error, failed);
    }
  });
  return { grpc, sessions, connect: (stream) => injector.injectConnection(stream) };
}

/** grpc-js exports no way to it: the version is pinned, and without it no server starts. */
function http2ServerOf(grpc: Server): Http2Server {
  const servers = grpc['http2Servers'] as ReadonlyMap<Http2Server, unknown>;
  const [http2] = servers.keys();
  if (http2 === undefined) throw new Error('grpc-js has made no HTTP/2 server');
  return http2;
}

/** Replaces what grpc-js calls on a stream and what throws where the stream has ended. */
function guard(stream: ServerHttp2Stream, failed: OnFailure): void {
  const { respond, sendTrailers } = stream;
  // 'close' follows, and ends the call.
  stream.on('error', () => undefined);
  stream.respond = (headers, options): void => {
    if (stream.destroyed || stream.closed || stream.headersSent) return;
    try {
      respond.call(stream, headers, options);
    } catch (error) {
      reset(stream, error, failed);
    }
  };
  stream.sendTrailers = (headers): void => {
    if (stream.destroyed || stream.closed) return;
    try {
      sendTrailers.call(stream, headers);
    } catch (error) {
      reset(stream, error, failed);
    }
  };
}

function reset(stream: ServerHttp2Stream, error: unknown, failed: OnFailure): void {
  stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  failed(error);
}
