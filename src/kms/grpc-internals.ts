/**
 * What this plugin needs of grpc-js that it exports no way to: its HTTP/2 server, the options of that,
 * and what it does with a stream. The version is pinned; a test sees that the options reach Node.
 */
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { LIMITS } from '../limits.ts';

/** What grpc-js does with a new stream. */
export type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

export type GrpcInternals = {
  readonly grpc: Server;
  /** Without a listener for streams. */
  readonly http2: Http2Server;
  readonly handle: StreamHandler;
  /** Takes in one connection, from the first byte of the HTTP/2 preface on. */
  readonly inject: (stream: Duplex) => void;
};

/**
 * Node's options that grpc-js has no names for. The limit of streams is not among them: Node counts one
 * that its client has cancelled until the end of the read that brought the cancellation, and resets the
 * calls behind it. So clients are told of the limit by the first SETTINGS, and it is kept here.
 */
const HTTP2_OPTIONS = {
  settings: { maxHeaderListSize: LIMITS.headerListBytes },
  maxHeaderListPairs: LIMITS.headerListPairs,
  maxSessionMemory: LIMITS.sessionMegabytes,
  // Streams beyond a limit of Node's are reset, each of them; this one would end the connection.
  maxSessionRejectedStreams: LIMITS.resetsAtOnce,
  // Node's own are for servers that anybody can reach: they end the one connection of a kube-apiserver
  // that cancels a thousand calls.
  streamResetBurst: LIMITS.resetsAtOnce,
  streamResetRate: LIMITS.resetsPerSecond,
};

/** A server without methods. */
export function createGrpcInternals(): GrpcInternals {
  const grpc = new Server({
    'grpc.max_receive_message_length': LIMITS.messageBytes,
    'grpc.max_send_message_length': LIMITS.messageBytes,
    'grpc.enable_channelz': 0,
  });
  Object.assign(grpc['commonServerOptions'], HTTP2_OPTIONS);
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const servers = grpc['http2Servers'] as ReadonlyMap<Http2Server, unknown>;
  const [http2] = servers.keys();
  if (http2 === undefined) throw new Error('grpc-js has made no HTTP/2 server');
  const [handle] = http2.listeners('stream') as StreamHandler[];
  if (handle === undefined) throw new Error('grpc-js does not listen for streams');
  http2.removeAllListeners('stream');
  return { grpc, http2, handle, inject: (stream) => injector.injectConnection(stream) };
}
