/**
 * grpc-js' server on connections that are handed to it, with one guard before it: every stream passes
 * here before grpc-js handles it. Nothing that a client does to a stream becomes an exception, and what
 * would take more than its share is refused before grpc-js has taken memory for it.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  constants,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { type Duplex, Readable } from 'node:stream';
import { type Server, status } from '@grpc/grpc-js';
import { LIMITS } from '../limits.ts';
import type { Clock } from '../system/clock.ts';
import { keptBytesOf, neededOf } from './call-headers.ts';
import type { Connection } from './counted.ts';
import { createGrpcInternals } from './grpc-internals.ts';
import {
  createStreamGuard,
  failedStream,
  type OnFailure,
  refuse,
  resetStream,
} from './guarded-stream.ts';
import { collect } from './one-message.ts';
import { createOpenCalls, type OpenCall } from './open-calls.ts';
import type { OnRefusal } from './refusals.ts';
import type { Traffic } from './traffic.ts';

export type GrpcServer = {
  /** Where methods are added. */
  readonly grpc: Server;
  /** The HTTP/2 sessions that are open. */
  readonly sessions: ReadonlyMap<Http2Session, Connection>;
  /** How many connections have had an answer since the start. */
  readonly answered: () => number;
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

type Published = { readonly stream: ServerHttp2Stream; readonly headers: IncomingHttpHeaders };

/** Node publishes a stream here before it gives it anything that was received. */
const STREAM_CREATED = 'http2.server.stream.created';
/** And here as soon as one side has reset it or both have ended it, long before its 'close'. */
const STREAM_CLOSE = 'http2.server.stream.close';

type Words = { readonly code: status; readonly details: string };

const TOO_MANY_CALLS: Words = {
  code: status.RESOURCE_EXHAUSTED,
  details: 'too many calls wait for an answer',
};
const TOO_MANY_BYTES: Words = {
  code: status.RESOURCE_EXHAUSTED,
  details: 'too many bytes of messages wait for an answer',
};
const COMPRESSED: Words = {
  code: status.UNIMPLEMENTED,
  details: 'compressed messages are not taken: send them with grpc-encoding identity',
};
const NO_MESSAGE: Words = {
  code: status.UNIMPLEMENTED,
  details: 'the call ended without a whole message',
};

/** A server without methods. */
export function createGrpcServer({
  traffic,
  fromMemory,
  clock,
  failed,
  refused,
}: GrpcServerOptions): GrpcServer {
  const { grpc, http2, handle, inject } = createGrpcInternals();
  const sessions = new Map<Http2Session, Connection>();
  const calls = createOpenCalls({ traffic, clock, refused });
  let connecting: Connection | undefined;
  let connected: Http2Session | undefined;

  http2.on('session', (session) => {
    if (connecting === undefined) return;
    connected = session;
    sessions.set(session, connecting);
    session.once('close', () => sessions.delete(session));
  });

  let answered = 0;
  const guard = createStreamGuard(failed, (stream) => {
    const connection = calls.get(stream)?.connection;
    if (connection === undefined || connection.isAnswered) return;
    connection.isAnswered = true;
    answered += 1;
  });

  /** What Node received of a stream, in the place of its `push`. */
  function push(this: ServerHttp2Stream, chunk: Buffer | null): boolean {
    const call = calls.get(this);
    if (call === undefined) return Readable.prototype.push.call(this, chunk);
    if (chunk === null) {
      call.ended = true;
      return Readable.prototype.push.call(this, chunk);
    }
    traffic.frame(call.connection, chunk.length);
    if (call.received) {
      // A message too many; the rest of one that was refused is ignored.
      if (call.message.buffer === undefined && call.bytes > 0) {
        refused('pieces');
        resetStream(this, constants.NGHTTP2_PROTOCOL_ERROR);
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
        refuseCall(this, call, TOO_MANY_BYTES);
        return true;
      case 'compressed':
        refused('encoding');
        refuseCall(this, call, COMPRESSED);
        return true;
      case 'abuse':
        refused('pieces');
        resetStream(this, constants.NGHTTP2_PROTOCOL_ERROR);
        return true;
    }
  }

  const onEnded = (published: unknown): void => calls.ended((published as Published).stream);
  subscribe(STREAM_CLOSE, onEnded);

  const onCreated = (published: unknown): void => {
    const { stream, headers } = published as Published;
    const { session } = stream;
    const connection = session === undefined ? undefined : sessions.get(session);
    if (connection === undefined) return;
    traffic.frame(connection);
    guard(stream);
    const call = calls.open(stream, connection, fromMemory.has(headers[':path'] ?? ''));
    const isTooMany = connection.streams > LIMITS.streamsPerConnection;
    if (isTooMany || (call.place === undefined && traffic.isFull())) {
      if (!isTooMany) refused('calls');
      refuseStream(stream, connection, isTooMany);
      return;
    }
    stream.push = push;
  };
  subscribe(STREAM_CREATED, onCreated);

  const refuseCall = (
    stream: ServerHttp2Stream,
    call: OpenCall,
    { code, details }: Words,
  ): void => {
    calls.refused(call);
    refuse(stream, code, details);
  };

  /** At once and without words, which would be kept until they are read: there may be thousands. */
  const refuseStream = (
    stream: ServerHttp2Stream,
    connection: Connection,
    isTooMany: boolean,
  ): void => {
    const { session } = stream;
    resetStream(stream, constants.NGHTTP2_REFUSED_STREAM);
    const isUnread = connection.isUnread();
    // Others have taken the places: its client has kept to the limit.
    if (!isTooMany && !isUnread) return;
    connection.refused += 1;
    if (connection.refused <= (isUnread ? LIMITS.refusedUnread : LIMITS.refusedStreams)) return;
    refused('streams');
    session?.destroy(new Error('too many streams'), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  };

  http2.on('stream', (stream, headers) => {
    const connection = calls.get(stream)?.connection;
    if (connection === undefined) return;
    if (traffic.mayBegin(connection)) begin(stream, headers);
    else {
      const arrived = clock.now();
      traffic.beginLater(connection, () => {
        if (stream.destroyed || stream.closed) return false;
        if (connection.isGone()) {
          stream.session?.destroy();
          return false;
        }
        begin(stream, headers, clock.now() - arrived);
        return true;
      });
    }
  });

  const begin = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, waitedMs = 0): void => {
    if (stream.destroyed || stream.closed) return;
    const call = calls.get(stream);
    if (call === undefined) return;
    call.begun = true;
    const encoding = headers['grpc-encoding'];
    if (keptBytesOf(headers) > LIMITS.keptHeaderBytes) {
      resetStream(stream, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (call.place === undefined) {
      refused('calls');
      refuseCall(stream, call, TOO_MANY_CALLS);
    } else if (encoding !== undefined && encoding !== 'identity') {
      refused('encoding');
      refuseCall(stream, call, COMPRESSED);
    } else if (stream.readableEnded) {
      // It waited for its turn, and 'end' is over, for which grpc-js would wait.
      refuseCall(stream, call, NO_MESSAGE);
    } else {
      try {
        handle(stream, neededOf(headers, waitedMs));
      } catch (error) {
        failedStream(stream, error, failed);
      }
    }
  };

  return {
    grpc,
    sessions,
    answered: () => answered,
    connect(stream, connection) {
      connecting = connection;
      connected = undefined;
      inject(stream);
      connecting = undefined;
      return connected;
    },
    stop() {
      calls.stop();
      unsubscribe(STREAM_CREATED, onCreated);
      unsubscribe(STREAM_CLOSE, onEnded);
    },
  };
}
