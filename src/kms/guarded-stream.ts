/**
 * What may be called on a stream without an exception, whatever its client has done to it.
 *
 * grpc-js calls methods that throw where the client has reset the stream in the meantime: for a method
 * that is not served, and for a request that is not gRPC. Nobody could catch that exception.
 */
import {
  constants,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
  type ServerStreamResponseOptions,
} from 'node:http2';
import { status } from '@grpc/grpc-js';

/** Learns why a stream was reset instead of answered, where its client was not the reason. */
export type OnFailure = (error: unknown) => void;

/**
 * Gives each stream methods in the place of those which throw where a stream has ended.
 *
 * @param answered called with a stream whose answer has begun, a refusal in words among them
 */
export function createStreamGuard(
  failed: OnFailure,
  answered: (stream: ServerHttp2Stream) => void,
): (stream: ServerHttp2Stream) => void {
  const methodsOf = (stream: ServerHttp2Stream): ServerHttp2Stream =>
    Object.getPrototypeOf(stream) as ServerHttp2Stream;

  function respond(
    this: ServerHttp2Stream,
    headers?: OutgoingHttpHeaders | readonly string[],
    options?: ServerStreamResponseOptions,
  ): void {
    if (this.destroyed || this.closed || this.headersSent) return;
    try {
      const { respond } = methodsOf(this);
      if (options?.endStream === true) respond.call(this, withEncoding(headers), STATUS_ALONE);
      else respond.call(this, BEFORE_MESSAGE, WITH_TRAILERS);
      answered(this);
    } catch (error) {
      failedStream(this, error, failed);
    }
  }
  function sendTrailers(this: ServerHttp2Stream, headers: OutgoingHttpHeaders): void {
    if (this.destroyed || this.closed) return;
    try {
      const isOk = headers['grpc-status'] === status.OK;
      methodsOf(this).sendTrailers.call(this, isOk ? OK_TRAILERS : headers);
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

/**
 * What stands before the one message of an answer, and behind it: no more than gRPC asks for. grpc-js and
 * Node add a date, encodings and a text for OK, and each header of an answer costs a microsecond.
 */
const BEFORE_MESSAGE: OutgoingHttpHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
};
const OK_TRAILERS: OutgoingHttpHeaders = { 'grpc-status': status.OK };
const WITH_TRAILERS = { waitForTrailers: true, sendDate: false };
const STATUS_ALONE = { endStream: true, sendDate: false };

/** grpc-js names what it could decompress; this plugin takes nothing compressed, and says so. */
function withEncoding(
  headers: OutgoingHttpHeaders | readonly string[] | undefined,
): OutgoingHttpHeaders {
  return { ...(headers as OutgoingHttpHeaders), 'grpc-accept-encoding': 'identity' };
}

/** 'close' follows, and ends the call. */
function ignore(): undefined {
  return undefined;
}

/**
 * Resets a stream, and keeps nothing of it: also where its client does not read, for which Node would
 * wait until the RST_STREAM is sent.
 */
export function resetStream(stream: ServerHttp2Stream, code: number): void {
  stream.close(code);
  stream.destroy(WAS_RESET);
}

/** Node makes an error of its own for each stream otherwise, whose stack costs as much as a call. */
const WAS_RESET = new Error('the stream was reset');

/** Resets a stream that could not be answered. */
export function failedStream(stream: ServerHttp2Stream, error: unknown, failed: OnFailure): void {
  resetStream(stream, constants.NGHTTP2_INTERNAL_ERROR);
  failed(error);
}

/**
 * Answers a guarded stream with a gRPC status alone, and ignores what its client still sends. The stream is
 * not closed: where a write is under way Node would send a RST_STREAM alone, without the status.
 */
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
  stream.resume();
}
