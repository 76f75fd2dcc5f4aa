/** The gRPC server: methods made callable, connections taken in, and a stop that loses no call. */
import type { Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import {
  type handleUnaryCall,
  type ServerUnaryCall,
  type ServiceDefinition,
  setLogger,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { LIMITS } from '../limits.ts';
import type { Log } from '../observe/log.ts';
import { type Clock, sleep } from '../system/clock.ts';
import { descriptorLimit } from '../system/spare-descriptors.ts';
import { acceptCounted } from './accept.ts';
import { callSignal, type LimitedCall } from './deadline.ts';
import { createGrpcServer } from './grpc-server.ts';
import type { Answer, Method } from './method.ts';
import { createRefusals } from './refusals.ts';
import { createTraffic, type Traffic } from './traffic.ts';

/** What is open on the KMS socket. */
export type KmsOpen = {
  readonly open: number;
  /** Of these, the ones that have made a call and are served by HTTP/2. */
  readonly sessions: number;
  readonly calls: number;
};

export type KmsServer = {
  readonly open: () => KmsOpen;
  /** How many connections have had an answer since the start. */
  readonly answered: () => number;
  /** Takes in a connection that was accepted just now, and not read from. */
  accept(socket: Socket): void;
  /**
   * Ends without losing a call: clients are told to go elsewhere, what runs is finished, and what
   * has not ended within `limitMs` is cut off, and so is what has never made a call. The listener must
   * have been closed before.
   */
  drain(limitMs: number): Promise<void>;
};

/** Time for a connection that was accepted just now to send its first call. */
const ACCEPTED_SETTLE_MS = 5;
/** Time for calls that a client sent before it saw the GOAWAY; RFC 9113, section 6.8. */
const GOAWAY_SETTLE_MS = 60;
const NO_ERROR = 0;
/** So many are left when it is said. */
const FEW_DESCRIPTORS = 16;
const ALL_STREAMS = 2 ** 31 - 1;

/** A server of these methods, on connections that are handed to it. */
export function createKmsServer(
  methods: readonly Method[],
  { log, clock }: { readonly log: Log; readonly clock: Clock },
): KmsServer {
  const traffic = createTraffic(LIMITS);
  const refused = createRefusals(log, clock);
  const lastDescriptors = (descriptorLimit() ?? Number.POSITIVE_INFINITY) - FEW_DESCRIPTORS;
  // Its sentences hold what a client has sent.
  const reported = (): void => refused('library');
  setLogger({ error: reported, info: reported, debug: reported });
  const { grpc, sessions, answered, connect, stop } = createGrpcServer({
    traffic,
    fromMemory: new Set(methods.flatMap(({ path, call }) => ('local' in call ? [path] : []))),
    clock,
    failed: (error) =>
      log.warn?.('a call could not be answered and was reset', { error: nameOf(error) }),
    refused,
  });
  for (const method of methods) {
    grpc.addService(definitionOf(method), implementationOf(method, { log, clock, traffic }));
  }
  const sockets = new Set<Socket>();
  /** Set when the end has begun: sends a client elsewhere. */
  let dismiss: ((session: Http2Session) => void) | undefined;
  /** The end has taken as long as it may. */
  let isOver = false;

  return {
    open() {
      const { connections, calls } = traffic.open();
      return { open: connections, sessions: sessions.size, calls };
    },
    answered,
    accept(socket) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      acceptCounted(socket, traffic, { refused, lastDescriptors }, (stream, connection) => {
        // Node reads in the next tick what is there of a new session, and throws if it was destroyed before.
        if (isOver) {
          stream.destroy();
          return;
        }
        const session = connect(stream, connection);
        // Its first call came after the end had begun.
        if (session !== undefined) dismiss?.(session);
      });
    },
    async drain(limitMs) {
      const limit = new AbortController();
      const timer = clock.setTimer(limitMs, () => {
        isOver = true;
        limit.abort();
        // Not forceShutdown: without channelz grpc-js remembers no session to destroy.
        for (const session of sessions.keys()) session.destroy();
        // A session that was to close waits for its client to read what was written, even if destroyed.
        for (const socket of sockets) socket.destroy();
      });
      const leaving = new Set<Promise<void>>();
      const leave = async (session: Http2Session): Promise<void> => {
        const closed = new Promise((resolve) => session.once('close', resolve));
        session.goaway(NO_ERROR, ALL_STREAMS);
        await sleep(clock, GOAWAY_SETTLE_MS, limit.signal);
        session.close();
        await closed;
      };
      const begin = (session: Http2Session): void => {
        if (session.destroyed) return;
        if (isOver) {
          session.destroy();
          return;
        }
        const left = leave(session).finally(() => leaving.delete(left));
        leaving.add(left);
      };
      await sleep(clock, ACCEPTED_SETTLE_MS, limit.signal);
      dismiss = begin;
      for (const session of sessions.keys()) begin(session);
      while (leaving.size > 0) await Promise.all(leaving);
      timer.cancel();
      for (const socket of sockets) socket.destroy();
      // Its callback comes at once: there is no session any more.
      grpc.tryShutdown(() => undefined);
      stop();
    },
  };
}

function definitionOf(method: Method): ServiceDefinition {
  return {
    [method.path]: {
      path: method.path,
      requestStream: false,
      responseStream: false,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    },
  };
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

type UnaryCall = ServerUnaryCall<Buffer, Buffer>;
type Callback = Parameters<handleUnaryCall<Buffer, Buffer>>[1];

function implementationOf(
  method: Method,
  { log, clock, traffic }: { readonly log: Log; readonly clock: Clock; readonly traffic: Traffic },
): UntypedServiceImplementation {
  const finish = (
    call: UnaryCall,
    callback: Callback,
    answer: Answer<Uint8Array>,
    began: number,
  ) => {
    const { reply, facts } = answer;
    log.debug?.('kms call', {
      method: method.path,
      uid: facts?.uid?.slice(0, MAX_LOGGED_UID),
      keyVersion: facts?.keyVersion,
      ms: Math.round((clock.now() - began) * 1000) / 1000,
      outcome: outcomeOf(call, reply),
      why: reply.ok || call.cancelled ? undefined : reply.failure.details,
    });
    if (call.cancelled) return;
    if (reply.ok) callback(null, asBuffer(reply.message));
    // grpc-js percent-encodes the details, and throws at half a surrogate pair.
    else callback({ code: reply.failure.code, details: reply.failure.details.toWellFormed() });
  };
  const crash = (call: UnaryCall, callback: Callback, error: unknown, began: number): void => {
    const name = nameOf(error);
    log.error('kms call failed unexpectedly', { method: method.path, error: name });
    const details = `unexpected ${name} in the plugin; see its log`;
    finish(
      call,
      callback,
      { reply: { ok: false, failure: { code: status.INTERNAL, details } } },
      began,
    );
  };
  // One asynchronous function for all of a call: each of them costs memory until the call has ended.
  const handle = async (call: UnaryCall, callback: Callback): Promise<void> => {
    const began = clock.now();
    let limited: LimitedCall | undefined;
    try {
      let answer: Answer<Uint8Array>;
      if ('local' in method.call) answer = method.call.local(call.request, call.getHost());
      else {
        limited = callSignal(call, clock);
        answer = await method.call.remote(call.request, limited);
        limited.release();
        // The answers of some requests of the provider may come at once, for two thousand calls.
        if (!traffic.mayAnswer()) await traffic.turnToAnswer();
      }
      finish(call, callback, answer, began);
    } catch (error) {
      limited?.release();
      try {
        crash(call, callback, error, began);
      } catch (again) {
        // A callback that throws twice has no call any more; the next one must be served all the same.
        log.error('kms call could not be answered', { error: nameOf(again) });
      }
    }
  };
  const handleCall: handleUnaryCall<Buffer, Buffer> = (call, callback) =>
    void handle(call, callback);
  return { [method.path]: handleCall };
}

/** A call that its client has cancelled has no other outcome. */
function outcomeOf(call: UnaryCall, reply: Answer<Uint8Array>['reply']): string | undefined {
  if (call.cancelled) return status[status.CANCELLED];
  return reply.ok ? 'OK' : status[reply.failure.code];
}

const MAX_LOGGED_UID = 64;

/** What may be logged of an unexpected error: its message might hold what was being worked on. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
