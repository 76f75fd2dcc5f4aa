/** Taking in connections: counted, made fit for Node where they need it, and given to the server. */
import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { acceptConnection } from './authority/connection.ts';
import { type Connection, nothingCounted } from './counted.ts';
import type { OnRefusal } from './refusals.ts';
import type { Traffic } from './traffic.ts';

/** The part of libuv's handle that Node's HTTP/2 reads from, past the socket's own methods. */
type ReadHandle = {
  readonly fd?: number;
  /** Bytes that the kernel has not taken yet. */
  readonly writeQueueSize?: number;
  /** What the socket knows of it: it begins to read, and fails where that has begun, unless this is set. */
  reading?: boolean;
  readStart?(): void;
  readStop?(): void;
};

/** Counts the connection and hands it to the server, or closes it where there are too many. */
export function acceptCounted(
  socket: Socket,
  traffic: Traffic,
  {
    refused,
    lastDescriptors,
  }: {
    readonly refused: OnRefusal;
    /** Of connections with this one or a higher one, libuv will soon close new ones without a word. */
    readonly lastDescriptors: number;
  },
  connect: (stream: Duplex, connection: Connection) => void,
): void {
  /** Undefined until the HTTP/2 server has it. */
  let stream: Duplex | undefined;
  /** Nothing reads it meanwhile. */
  let isWaiting = false;
  let isPaused = false;
  const isUnread = (): boolean =>
    stream === socket
      ? (handleOf(socket)?.writeQueueSize ?? 0) > 0
      : (stream?.writableLength ?? 0) > 0;
  const connection: Connection = {
    ...nothingCounted(),
    close: () => void socket.destroy(),
    isUnread,
    isGone: () => isClosedByPeer(handleOf(socket)?.fd),
    pause() {
      if (isWaiting) return;
      isPaused = true;
      if (stream === socket) handleOf(socket)?.readStop?.();
      else (stream ?? socket).pause();
    },
    resume() {
      isPaused = false;
      // Node reads nothing of a client that does not read, and reads on when it has.
      if (isWaiting || socket.destroyed || isUnread()) return;
      if (stream === socket) startReading(handleOf(socket));
      else (stream ?? socket).resume();
    },
  };
  // Linux gives out the lowest that is free.
  if ((handleOf(socket)?.fd ?? 0) >= lastDescriptors) refused('descriptors');
  const opened = traffic.opened(connection);
  if (opened !== 'counted') refused('connections');
  if (opened === 'refused') {
    socket.destroy();
    return;
  }
  socket.once('close', () => traffic.closed(connection));
  const begin = (handed: Duplex): void => {
    isWaiting = true;
    // Nobody else listens for it yet; 'close' follows.
    handed.on('error', () => undefined);
    traffic.begin(handed.readableLength, () => {
      isWaiting = false;
      if (handed.destroyed) return;
      stream = handed;
      if (handed !== socket) holdPaused(handed, () => isPaused);
      connect(handed, connection);
    });
  };
  acceptConnection(socket, begin, { read: (bytes) => traffic.frame(connection, bytes) });
}

/** Node resumes a stream when it has written, and what that had read before would all come at once. */
function holdPaused(stream: Duplex, isPaused: () => boolean): void {
  const { resume } = stream;
  stream.resume = () => (isPaused() ? stream : resume.call(stream));
}

function startReading(handle: ReadHandle | null | undefined): void {
  if (!handle) return;
  handle.reading = true;
  handle.readStart?.();
}

const NO_BYTES = new Uint8Array(0);

/** A write of no bytes fails on a socket that its peer has closed: Linux, net/unix/af_unix.c. */
function isClosedByPeer(descriptor: number | undefined): boolean {
  if (descriptor === undefined || descriptor < 0) return false;
  try {
    writeSync(descriptor, NO_BYTES);
    return false;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EPIPE' || code === 'ECONNRESET';
  }
}

function handleOf(socket: Socket): ReadHandle | null | undefined {
  return (socket as unknown as { readonly _handle?: ReadHandle | null })._handle;
}
