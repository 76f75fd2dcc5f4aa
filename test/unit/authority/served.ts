/** A gRPC server with one method that echoes, on a socket whose connections are accepted by ours. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { acceptConnection } from '../../../src/kms/authority/connection.ts';
import { type Clock, systemClock } from '../../../src/system/clock.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { readFrames, SETTINGS, SETTINGS_ACK } from './http2-bytes.ts';
import { createDecoder } from './rfc7541.ts';

export const ECHO = '/test.Echo/Echo';
export const asIs = (bytes: Buffer): Buffer => bytes;

export type Accepted = { readonly socket: Socket; handed: 'bare' | 'wrapped' | undefined };

export type Served = {
  readonly path: string;
  /** The authorities of the calls, in their order. */
  readonly hosts: string[];
  readonly accepted: Accepted[];
};

export async function serveEcho(
  t: TestContext,
  clock: Clock = systemClock,
  accept: typeof acceptConnection = acceptConnection,
): Promise<Served> {
  const served: Served = {
    path: join(temporaryFolder(t), 'kms.sock'),
    hosts: [],
    accepted: [],
  };
  const server = new Server();
  const method = {
    path: ECHO,
    requestStream: false as const,
    responseStream: false as const,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  server.addService(
    { Echo: method },
    {
      Echo(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
        served.hosts.push(call.getHost());
        callback(null, call.request);
      },
    },
  );
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer((socket) => {
    const accepted: Accepted = { socket, handed: undefined };
    served.accepted.push(accepted);
    accept(
      socket,
      (stream) => {
        if (accepted.handed !== undefined) throw new Error('handed over twice');
        accepted.handed = stream === socket ? 'bare' : 'wrapped';
        injector.injectConnection(stream);
      },
      { clock },
    );
  });
  listener.listen(served.path);
  await once(listener, 'listening');
  t.after(() => {
    server.forceShutdown();
    listener.close();
    for (const { socket } of served.accepted) socket.destroy();
  });
  return served;
}

export type RawConnection = {
  readonly socket: Socket;
  /** Resolves with grpc-status once the call on this stream has ended, or how it was refused. */
  ended(stream: number): Promise<string>;
  /** Resolves when a frame of this type has come. */
  frame(type: number): Promise<void>;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
};

/** A client that sends only what it is told to, but for the ACKs of SETTINGS. */
export async function openRaw(
  t: TestContext,
  path: string,
  { acknowledges = true } = {},
): Promise<RawConnection> {
  const socket = connect(path);
  t.after(() => socket.destroy());
  socket.on('error', () => socket.destroy());
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  const decode = createDecoder();
  const types = new Set<number>();
  const ends = new Map<number, string>();
  const waiting = new Set<() => void>();
  let unread: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    const { frames, rest } = readFrames(Buffer.concat([unread, chunk]));
    unread = rest;
    for (const { type, flags, stream, payload } of frames) {
      types.add(type);
      if (type === SETTINGS && (flags & 1) === 0 && acknowledges) socket.write(SETTINGS_ACK);
      if (type === 1) {
        const status = decode(payload).find(([name]) => name === 'grpc-status')?.[1];
        if (status !== undefined) ends.set(stream, status);
      }
      if (type === 3) ends.set(stream, `RST_STREAM ${payload.readUInt32BE(0)}`);
    }
    for (const check of waiting) check();
  });
  const until = <T>(found: () => T | undefined): Promise<T> =>
    new Promise((resolve) => {
      const check = (): void => {
        const value = found();
        if (value === undefined) return;
        waiting.delete(check);
        resolve(value);
      };
      waiting.add(check);
      check();
      closed.then(check, check);
    });
  await once(socket, 'connect');
  return {
    socket,
    closed,
    ended: (stream) =>
      until(() => ends.get(stream) ?? (socket.destroyed ? 'connection closed' : undefined)),
    frame: async (type) => {
      await until(() => types.has(type) || socket.destroyed || undefined);
    },
  };
}
