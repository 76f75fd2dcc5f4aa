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
import { LIMITS } from '../../limits.ts';
import { type Clock, systemClock, type Timer } from '../../system/clock.ts';
import { createByteStore } from './byte-store.ts';
import { createScanner, type Scanner } from './frames.ts';
import { readPiecewise } from './piecewise.ts';

/**
 * Clients wait for the server's SETTINGS before their first call, so they get these; the server's own
 * follow them. RFC 9113, sections 3.4 and 6.5. A client may open as many streams as it likes until it
 * is told of a limit (grpc-go does), so the limits are in the first ones already.
 */
const FIRST_SETTINGS = settingsFrame([
  [0x3, LIMITS.callsPerConnection],
  [0x6, LIMITS.headerListBytes],
]);

function settingsFrame(settings: readonly (readonly [number, number])[]): Uint8Array {
  const frame = Buffer.alloc(9 + 6 * settings.length);
  frame.writeUIntBE(6 * settings.length, 0, 3);
  frame[3] = 0x4;
  for (const [i, [id, value]] of settings.entries()) {
    frame.writeUInt16BE(id, 9 + 6 * i);
    frame.writeUInt32BE(value, 11 + 6 * i);
  }
  return frame;
}

/** For a client that is connected and silent, before the server takes it over undecided. */
const FIRST_CALL_LIMIT_MS = LIMITS.firstCallMs;
/** For the ACK of the SETTINGS, once a call is there that waits for being answered. */
const ACK_LIMIT_MS = 250;
/**
 * Takes a socket that was accepted just now and not read from, and calls `hand` once with the stream
 * to give to the HTTP/2 server: the socket itself, with nothing of ours left on it, or a Duplex
 * around it. Never calls it where the client goes away before its first call, or has not even sent
 * HTTP/2's preface after ten seconds; the socket is closed then.
 */
export function acceptConnection(
  socket: Socket,
  hand: (stream: Duplex) => void,
  {
    clock = systemClock,
    read: wasRead = () => undefined,
  }: {
    readonly clock?: Clock;
    /** Called for each piece that was read before, with its length in bytes. */
    readonly read?: (bytes: number) => void;
  } = {},
): void {
  const scanner = createScanner();
  const { seen } = scanner;
  const read = createByteStore();
  let answerable = false;
  let timer: Timer;
  /** Of the stream that is handed over, in the place of the socket itself. */
  let pass: ((chunk: Buffer) => void) | undefined;

  const onData = (chunk: Buffer): void => {
    if (pass !== undefined) {
      pass(chunk);
      return;
    }
    wasRead(chunk.length);
    read.append(scanner.scan(chunk));
    if (seen.doubtful || read.length > LIMITS.readAheadBytes) {
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
    socket.off('end', onEnd).off('error', onError).off('close', leave);
    socket.pause();
  };
  const handWrapped = (): void => {
    leave();
    const mending = mendingStream(socket, scanner, read.take());
    pass = mending.take;
    hand(mending.stream);
  };
  // Node's HTTP/2 session takes the handle, and reads in its next tick what the socket has buffered.
  const handBare = (): void => {
    leave();
    socket.off('data', onData);
    read.append(scanner.release());
    socket.unshift(read.take());
    hand(socket);
  };

  timer = clock.setTimer(FIRST_CALL_LIMIT_MS, onTimeout);
  socket.on('end', onEnd).on('error', onError).on('close', leave);
  readPiecewise(socket, onData);
  socket.write(FIRST_SETTINGS);
}

/** The server handles what it is given at once; between two slices it can be paused. */
const SLICE_BYTES = 4 * 1024;

/** False where the stream has as much as it takes at once. */
function pushSliced(stream: Duplex, bytes: Buffer): boolean {
  let hasRoom = true;
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    hasRoom = stream.push(bytes.subarray(at, at + SLICE_BYTES));
  }
  return hasRoom;
}

/** The socket as a stream of mended bytes, beginning with those that were read before. */
function mendingStream(
  socket: Socket,
  scanner: Scanner,
  read: Buffer,
): {
  readonly stream: Duplex;
  /** Takes what was received next. */
  readonly take: (chunk: Buffer) => void;
} {
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
  pushSliced(stream, read);
  socket.on('end', () => {
    const rest = scanner.release();
    if (rest.length > 0) stream.push(rest);
    stream.push(null);
  });
  socket.on('error', (error) => stream.destroy(error));
  socket.on('close', () => stream.destroy());
  return {
    stream,
    take(chunk) {
      if (!pushSliced(stream, scanner.scan(chunk))) socket.pause();
    },
  };
}
