/**
 * Reads a socket in pieces of a few kilobytes. libuv reads 64 KiB at once, and many connections that begin
 * with as many are more than may be kept until each of them has its turn.
 *
 * Node reads into a buffer of its owner (`onread`) where a socket is made, but has no way to ask for it of one
 * that was accepted. Where its parts have other names, the socket is read as any other.
 */
import type { Socket } from 'node:net';
import { LIMITS } from '../../limits.ts';

/** Each piece is copied before the next read of any socket. */
const PIECE = Buffer.alloc(LIMITS.firstBytes);

/** Its HTTP/2 takes no connection that was read in this way. */
const IS_DENO = 'deno' in process.versions;

type Parts = Record<symbol, unknown> & {
  readonly _handle?: { useUserBuffer?(buffer: Uint8Array): void } | null;
};

/** For a socket that is not read yet. */
export function readPiecewise(socket: Socket, onPiece: (piece: Buffer) => void): void {
  const parts = socket as unknown as Parts;
  const symbols = Object.getOwnPropertySymbols(socket);
  const named = (name: string): symbol | undefined =>
    symbols.find(({ description }) => description === name);
  const [buffer, callback] = [named('kBuffer'), named('kBufferCb')];
  const { _handle: handle } = parts;
  const isKnown = buffer !== undefined && callback !== undefined && !IS_DENO;
  if (!isKnown || !handle?.useUserBuffer) {
    socket.on('data', onPiece);
    return;
  }
  parts[buffer] = PIECE;
  parts[callback] = (length: number): boolean => {
    onPiece(Buffer.from(PIECE.subarray(0, length)));
    return true;
  };
  handle.useUserBuffer(PIECE);
  socket.resume();
}
