/**
 * What may be called on a stream without an exception, whatever its client has done to it.
 *
 * grpc-js calls methods that throw where the client has reset the stream in the meantime: for a method
 * that is not served, and for a request that is not gRPC. Nobody could catch that exception.
 */
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { status } from '@grpc/grpc-js';

/** Learns why a stream was reset instead of answered, where its client was not the reason. */
export type OnFailure = (error: unknown) => void;

type Respond = ServerHttp2Stream['respond'];
type SendTrailers = ServerHttp2Stream['sendTrailers'];

/** Gives each stream methods in the place of those which throw where a stream has ended. */
export function createStreamGuard(failed: OnFailure): (stream: ServerHttp2Stream) => void {
  const methodsOf = (stream: ServerHttp2Stream): ServerHttp2Stream =>
    Object.getPrototypeOf(stream) as ServerHttp2Stream;

  function respond(this: ServerHttp2Stream, ...[headers, options]: Parameters<Respond>): void {
    if (this.destroyed || this.closed || this.headersSent) return;
    try {
      // grpc-js names what it could decompress; this plugin takes nothing compressed.
      const all = { ...(headers as OutgoingHttpHeaders), 'grpc-accept-encoding': 'identity' };
      methodsOf(this).respond.call(this, all, options);
    } catch (error) {
      failedStream(this, error, failed);
    }
  }
  function sendTrailers(this: ServerHttp2Stream, ...[headers]: Parameters<SendTrailers>): void {
    if (this.destroyed || this.closed) return;
    try {
      methodsOf(this).sendTrailers.call(this, headers);
    } catch (error) {
      failedStream(this, error, failed);
    }
  }
  return (stream) => {
    stream.respond = respond;
    stream.sendTrailers = sendTrailers;
    stream.on('error', ignore);
  };
}

/** 'close' follows, and ends the call. */
function ignore(): undefined {
  return undefined;
}

/** Resets a stream that could not be answered. */
export function failedStream(stream: ServerHttp2Stream, error: unknown, failed: OnFailure): void {
  stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  failed(error);
}

/** Answers a guarded stream with a gRPC status alone, and takes nothing more from its client. */
export function refuse(stream: ServerHttp2Stream, code: status, details: string): void {
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      'grpc-status': String(code),
      'grpc-message': details,
    },
    { endStream: true },
  );
  // RFC 9113, section 8.1: after the answer, its client need not send the rest of the request.
  stream.close(constants.NGHTTP2_NO_ERROR);
}
