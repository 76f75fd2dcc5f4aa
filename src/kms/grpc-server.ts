/**
 * grpc-js' server on connections that are handed to it, with one guard before it: every stream passes
 * here before grpc-js handles it. Nothing that a client does to a stream becomes an exception, and what
 * would take more than its share is refused before grpc-js has taken memory for it.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  constants,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { type Duplex, Readable } from 'node:stream';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { LIMITS } from '../limits.ts';
import type { Clock, Timer } from '../system/clock.ts';
import { boundedTimeout } from './deadline.ts';
import { createStreamGuard, failedStream, type OnFailure, refuse } from './guarded-stream.ts';
import { type Collected, collect, nothingCollected } from './one-message.ts';
import type { OnRefusal } from './refusals.ts';
import type { Connection, Place, Traffic } from './traffic.ts';

export type GrpcServer = {
  /** Where methods are added. */
  readonly grpc: Server;
  /** The HTTP/2 sessions that are open. */
  readonly sessions: ReadonlyMap<Http2Session, Connection>;
  /** Takes in one connection, from the first byte of the HTTP/2 preface on; answers its session. */
  connect(stream: Duplex, connection: Connection): Http2Session | undefined;
  /** Ends what outlives the sessions. */
  stop(): void;
};

export type GrpcServerOptions = {
  readonly traffic: Traffic;
  /** The methods that are answered from memory. */
  readonly fromMemory: ReadonlySet<string>;
  readonly clock: Clock;
  readonly failed: OnFailure;
  readonly refused: OnRefusal;
};

type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

type Published = { readonly stream: ServerHttp2Stream; readonly headers: IncomingHttpHeaders };

/** A call, from its headers until its stream has closed. */
type OpenCall = {
  readonly connection: Connection;
  /** The number of the sweep that came before it. */
  readonly since: number;
  /** Undefined where it was refused. */
  readonly place: Place | undefined;
  readonly message: Collected;
  /** Nothing more of its message is taken: it is there, or was refused. */
  received: boolean;
  /** What is kept for its message. */
  bytes: number;
};

/** Node publishes a stream here before it gives it anything that was received. */
const STREAM_CREATED = 'http2.server.stream.created';
/** And here as soon as one side has reset it or both have ended it, long before its 'close'. */
const STREAM_CLOSE = 'http2.server.stream.close';

/** Node's options that grpc-js has no names for. */
const HTTP2_OPTIONS = {
  // Node counts a stream until it has let go of it, a turn after its client has cancelled it: the limit
  // is twice what kube-apiserver has open, so that it may cancel all of these and open as many others.
  settings: {
    maxConcurrentStreams: LIMITS.callsPerConnection,
    maxHeaderListSize: LIMITS.headerListBytes,
  },
  maxHeaderListPairs: LIMITS.headerListPairs,
  maxSessionMemory: LIMITS.sessionMegabytes,
  // Streams beyond the limit are reset, each of them; Node's own limit would end the connection.
  maxSessionRejectedStreams: LIMITS.resetsAtOnce,
  // Node's own are for servers that anybody can reach: they end the one connection of a kube-apiserver
  // that cancels a thousand calls.
  streamResetBurst: LIMITS.resetsAtOnce,
  streamResetRate: LIMITS.resetsPerSecond,
};

/** Calls that take too long are looked for so often, instead of a timer for each. */
const SWEEP_MS = 5_000;
const REFUSAL_SWEEPS = 1;
const MESSAGE_SWEEPS = LIMITS.messageMs / SWEEP_MS;
const CALL_SWEEPS = LIMITS.callMs / SWEEP_MS;

/** A server without methods. */
export function createGrpcServer({
  traffic,
  fromMemory,
  clock,
  failed,
  refused,
}: GrpcServerOptions): GrpcServer {
  const grpc = new Server({
    'grpc.max_receive_message_length': LIMITS.messageBytes,
    'grpc.max_send_message_length': LIMITS.messageBytes,
    'grpc.enable_channelz': 0,
  });
  // The version of grpc-js is pinned; a test sees that the options reach Node.
  Object.assign(grpc['commonServerOptions'], HTTP2_OPTIONS);
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const http2 = http2ServerOf(grpc);
  const sessions = new Map<Http2Session, Connection>();
  const calls = new Map<ServerHttp2Stream, OpenCall>();
  let connecting: Connection | undefined;
  let connected: Http2Session | undefined;
  let sweeps = 0;
  let timer: Timer | undefined;

  http2.on('session', (session) => {
    if (connecting === undefined) return;
    connected = session;
    sessions.set(session, connecting);
    session.once('close', () => sessions.delete(session));
  });

  const sweep = (): void => {
    sweeps += 1;
    for (const [stream, { since, place, received }] of calls) {
      const age = sweeps - since;
      if (age <= REFUSAL_SWEEPS) break;
      // Its client does not read that it was refused.
      if (place === undefined) stream.destroy();
      else if (!received && age > MESSAGE_SWEEPS) {
        refused('late');
        stream.close(constants.NGHTTP2_CANCEL);
      } else if (age > CALL_SWEEPS) {
        // It was answered long ago: its client does not read.
        refused('unread');
        stream.session?.destroy();
      }
    }
    timer = calls.size > 0 ? clock.setTimer(SWEEP_MS, sweep) : undefined;
  };

  const guard = createStreamGuard(failed);

  /** What Node received of a stream, in the place of its `push`. */
  function push(this: ServerHttp2Stream, chunk: Buffer | null): boolean {
    const call = calls.get(this);
    if (chunk === null || call === undefined) return Readable.prototype.push.call(this, chunk);
    traffic.frame(call.connection);
    if (call.received) {
      // A message too many; the rest of one that was refused is ignored.
      if (call.message.buffer === undefined && call.bytes > 0) {
        refused('pieces');
        this.close(constants.NGHTTP2_PROTOCOL_ERROR);
      }
      return true;
    }
    const outcome = collect(call.message, chunk, (bytes) => {
      if (!traffic.keepBytes(call.connection, bytes)) return false;
      call.bytes = bytes;
      return true;
    });
    if (outcome === 'more') return true;
    call.received = true;
    if (typeof outcome !== 'string') return Readable.prototype.push.call(this, outcome);
    switch (outcome) {
      case 'long':
        // grpc-js reads the length and refuses it in words.
        return Readable.prototype.push.call(this, Buffer.of(0, 0xff, 0xff, 0xff, 0xff));
      case 'full':
        refused('bytes');
        refuse(this, status.RESOURCE_EXHAUSTED, 'too many bytes of messages wait for an answer');
        return true;
      case 'compressed':
        refused('encoding');
        refuse(this, status.UNIMPLEMENTED, NOT_COMPRESSED);
        return true;
      case 'abuse':
        refused('pieces');
        this.close(constants.NGHTTP2_PROTOCOL_ERROR);
        return true;
    }
  }

  const onEnded = (published: unknown): void => {
    const call = calls.get((published as Published).stream);
    if (call !== undefined) traffic.streamEnded(call.connection);
  };
  subscribe(STREAM_CLOSE, onEnded);

  function onClose(this: ServerHttp2Stream): void {
    const call = calls.get(this);
    if (call === undefined) return;
    calls.delete(this);
    traffic.streamClosed(call.connection, call.place);
    traffic.freeBytes(call.connection, call.bytes);
  }

  const onCreated = (published: unknown): void => {
    const { stream, headers } = published as Published;
    const connection = stream.session === undefined ? undefined : sessions.get(stream.session);
    if (connection === undefined) return;
    traffic.frame(connection);
    calls.set(stream, {
      connection,
      since: sweeps,
      place: traffic.streamOpened(connection, fromMemory.has(headers[':path'] ?? '')),
      message: nothingCollected(),
      received: false,
      bytes: 0,
    });
    timer ??= clock.setTimer(SWEEP_MS, sweep);
    guard(stream);
    stream.push = push;
    stream.on('close', onClose);
  };
  subscribe(STREAM_CREATED, onCreated);

  const [handle] = http2.listeners('stream') as StreamHandler[];
  if (handle === undefined) throw new Error('grpc-js does not listen for streams');
  http2.removeAllListeners('stream');
  http2.on('stream', (stream, headers) => {
    if (stream.destroyed || stream.closed) return;
    const encoding = headers['grpc-encoding'];
    if (keptBytesOf(headers) > LIMITS.keptHeaderBytes) {
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      // Also where its client does not read: Node keeps the authority of a stream.
      stream.destroy();
    } else if (calls.get(stream)?.place === undefined) {
      refused('calls');
      refuse(stream, status.RESOURCE_EXHAUSTED, 'too many calls wait for an answer');
    } else if (encoding !== undefined && encoding !== 'identity') {
      refused('encoding');
      refuse(stream, status.UNIMPLEMENTED, NOT_COMPRESSED);
    } else {
      try {
        handle(stream, neededOf(headers));
      } catch (error) {
        failedStream(stream, error, failed);
      }
    }
  });

  return {
    grpc,
    sessions,
    connect(stream, connection) {
      connecting = connection;
      connected = undefined;
      injector.injectConnection(stream);
      connecting = undefined;
      return connected;
    },
    stop() {
      timer?.cancel();
      unsubscribe(STREAM_CREATED, onCreated);
      unsubscribe(STREAM_CLOSE, onEnded);
    },
  };
}

/** How that of every call of gRPC begins. */
const CONTENT_TYPE = 'application/grpc';
const NOT_COMPRESSED = 'compressed messages are not taken: send them with grpc-encoding identity';

/** grpc-js exports no way to it: the version is pinned, and without it no server starts. */
function http2ServerOf(grpc: Server): Http2Server {
  const servers = grpc['http2Servers'] as ReadonlyMap<Http2Server, unknown>;
  const [http2] = servers.keys();
  if (http2 === undefined) throw new Error('grpc-js has made no HTTP/2 server');
  return http2;
}

/** The length of those headers that stay for as long as a call lasts. */
function keptBytesOf(headers: IncomingHttpHeaders): number {
  const { ':path': path = '', ':authority': authority = '', host = '' } = headers;
  return path.length + authority.length + host.length;
}

/** The headers that grpc-js needs: it keeps all that it gets for as long as a call lasts. */
function neededOf(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const timeout = headers['grpc-timeout'];
  const isGrpc = headers['content-type']?.startsWith(CONTENT_TYPE) === true;
  const needed: IncomingHttpHeaders = {
    ':path': headers[':path'],
    ':authority': headers[':authority'] ?? headers.host,
    'content-type': isGrpc ? CONTENT_TYPE : undefined,
  };
  if (timeout !== undefined) needed['grpc-timeout'] = boundedTimeout(String(timeout));
  return needed;
}
