/**
 * The one message of a unary call, put together from whatever pieces it comes in.
 *
 * Node hands every DATA frame on as a Buffer of its own, a view of all that was read with it, and
 * grpc-js keeps them until the message is whole: a frame of one byte costs it some hundred times its
 * size. Here the pieces are copied into one buffer of the length that the message announces.
 */
import { LIMITS } from '../limits.ts';

/** Compressed flag and length: the prefix of a gRPC message. */
const PREFIX_BYTES = 5;

/** What has come of a message so far. */
export type Collected = {
  pieces: number;
  length: number;
  /** Holds the prefix first, and then all of the message with its prefix. */
  buffer: Buffer | undefined;
};

/**
 * What a piece has made of the message: it is whole, with its prefix; or more is to come; or there is
 * no room for it, it is compressed, it is longer than a message may be, or it is abuse: more than one
 * message, or one in too many pieces. After all but `more`, nothing further is to be collected.
 */
export type Outcome = Buffer | 'more' | 'full' | 'compressed' | 'long' | 'abuse';

/** A message of which nothing has come. */
export function nothingCollected(): Collected {
  return { pieces: 0, length: 0, buffer: undefined };
}

/** Takes one piece; `keep` asks for room for so many bytes before they are taken. */
export function collect(
  message: Collected,
  piece: Buffer,
  keep: (bytes: number) => boolean,
): Outcome {
  message.pieces += 1;
  if (message.pieces > LIMITS.messagePieces) return 'abuse';
  let at = 0;
  if (message.length < PREFIX_BYTES) {
    let prefix = piece;
    if (message.length > 0 || piece.length < PREFIX_BYTES) {
      message.buffer ??= Buffer.allocUnsafe(PREFIX_BYTES);
      at = piece.copy(message.buffer, message.length, 0, PREFIX_BYTES - message.length);
      message.length += at;
      if (message.length < PREFIX_BYTES) return 'more';
      prefix = message.buffer;
    }
    if (prefix[0] !== 0) return 'compressed';
    const bytes = prefix.readUInt32BE(1);
    if (bytes > LIMITS.messageBytes) return 'long';
    if (!keep(PREFIX_BYTES + bytes)) return 'full';
    message.buffer = Buffer.allocUnsafe(PREFIX_BYTES + bytes);
    prefix.copy(message.buffer, 0, 0, message.length);
  }
  const { buffer, length } = message;
  if (buffer === undefined || piece.length - at > buffer.length - length) return 'abuse';
  message.length += piece.copy(buffer, length, at);
  if (message.length < buffer.length) return 'more';
  message.buffer = undefined;
  return buffer;
}
