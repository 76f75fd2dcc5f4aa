/**
 * Connections of clients that send the path of the socket as `:authority`, made fit for Node.
 *
 * Such a client needs its header blocks mended for as long as it is connected: an indexed authority
 * is sent anew each time that other headers, the differing timeouts of calls, have pushed it out of
 * the table. A Duplex around the socket does that, at the cost of a fifth of the throughput and
 * more. All other clients are spared it: before the connection is handed over, it is read up to the
 * first call, and where that has a good authority the bare socket is handed over, with what was read
 * put back into it.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type Clock, systemClock, type Timer } from '../../system/clock.ts';
import { createScanner, type Scanner } from './frames.ts';

/**
 * Clients wait for the server's SETTINGS before their first call, so they get some that change
 * nothing; the server's own follow them. RFC 9113, sections 3.4 and 6.5.
 */
const EMPTY_SETTINGS = Uint8Array.of(0, 0, 0, 0x4, 0, 0, 0, 0, 0);

/** For a client that is connected and silent, before the server takes it over undecided. */
const FIRST_CALL_LIMIT_MS = 10_000;
/** For the ACK of the SETTINGS, once a call is there that waits for being answered. */
const ACK_LIMIT_MS = 250;
/** Of a client that calls before it acknowledges; flow control allows it 64 KiB a stream. */
const MAX_READ_AHEAD_BYTES = 128 * 1024;

/**
 * Takes a socket that was accepted just now and not read from, and calls `hand` once with the stream
 * to give to the HTTP/2 server: the socket itself, with nothing of ours left on it, or a Duplex
 * around it. Never calls it where the client goes away before its first call, or has not even sent
 * HTTP/2's preface after ten seconds; the socket is closed then.
 */
export function acceptConnection(
  socket: Socket,
  hand: (stream: Duplex) => void,
  clock: Clock = systemClock,
): void {
  const scanner = createScanner();
  const { seen } = scanner;
  const read: Buffer[] = [];
  let readBytes = 0;
  let answerable = false;
  let timer: Timer;

  const onData = (chunk: Buffer): void => {
    const passed = scanner.scan(chunk);
    read.push(passed);
    readBytes += passed.length;
    if (seen.doubtful || readBytes > MAX_READ_AHEAD_BYTES) {
      handWrapped();
    } else if (seen.good && seen.acknowledged) {
      handBare();
    } else if (seen.good && !answerable) {
      answerable = true;
      timer.cancel();
      timer = clock.setTimer(ACK_LIMIT_MS, handWrapped);
    }
  };
  const onTimeout = (): void => {
    if (seen.preface) handWrapped();
    else socket.destroy();
  };
  // A client that ends its side before its first call has nothing to ask any more.
  const onEnd = (): void => void socket.destroy();
  // 'close' follows, and is enough to know.
  const onError = (): void => undefined;
  const leave = (): void => {
    timer.cancel();
    socket.off('data', onData).off('end', onEnd).off('error', onError).off('close', leave);
    socket.pause();
  };
  const handWrapped = (): void => {
    leave();
    hand(mendingStream(socket, scanner, Buffer.concat(read)));
  };
  // Node's HTTP/2 session takes the handle, and reads in its next tick what the socket has buffered.
  const handBare = (): void => {
    leave();
    socket.unshift(Buffer.concat([...read, scanner.release()]));
    hand(socket);
  };

  timer = clock.setTimer(FIRST_CALL_LIMIT_MS, onTimeout);
  socket.on('data', onData).on('end', onEnd).on('error', onError).on('close', leave);
  socket.write(EMPTY_SETTINGS);
}

/** The socket as a stream of mended bytes, beginning with those that were read before. */
function mendingStream(socket: Socket, scanner: Scanner, read: Buffer): Duplex {
  const stream = new Duplex({
    read() {
      socket.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      socket.write(chunk, done);
    },
    writev(chunks, done) {
      socket.cork();
      const last = chunks.length - 1;
      for (const [i, { chunk }] of chunks.entries()) {
        if (i < last) socket.write(chunk);
        else socket.write(chunk, done);
      }
      socket.uncork();
    },
    final(done) {
      socket.end(done);
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  if (read.length > 0) stream.push(read);
  socket.on('data', (chunk: Buffer) => {
    const passed = scanner.scan(chunk);
    if (passed.length > 0 && !stream.push(passed)) socket.pause();
  });
  socket.on('end', () => {
    const rest = scanner.release();
    if (rest.length > 0) stream.push(rest);
    stream.push(null);
  });
  socket.on('error', (error) => stream.destroy(error));
  socket.on('close', () => stream.destroy());
  return stream;
}
