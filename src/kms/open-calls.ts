/** The calls that have not ended, and the end of those that take too long. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { LIMITS } from '../limits.ts';
import type { Clock, Timer } from '../system/clock.ts';
import type { Connection } from './counted.ts';
import { resetStream } from './guarded-stream.ts';
import { type Collected, nothingCollected } from './one-message.ts';
import type { Place } from './places.ts';
import type { OnRefusal } from './refusals.ts';
import type { Traffic } from './traffic.ts';

/** A call, from its headers until its stream has closed. */
export type OpenCall = {
  readonly connection: Connection;
  /** The number of the sweep that came before it. */
  readonly since: number;
  /** Undefined where it was refused, or cancelled before it began. */
  place: Place | undefined;
  /** It was handed to grpc-js, or refused. */
  begun: boolean;
  readonly message: Collected;
  /** Nothing more of its message is taken: it is there, or was refused. */
  received: boolean;
  /** Its client has ended its side of the stream. */
  ended: boolean;
  /** One side has reset the stream, and it closes soon: also where the client does not read. */
  reset: boolean;
  /** What is kept for its message. */
  bytes: number;
};

export type OpenCalls = {
  /** Begins to count a stream. */
  open(stream: ServerHttp2Stream, connection: Connection, fromMemory: boolean): OpenCall;
  get(stream: ServerHttp2Stream): OpenCall | undefined;
  /** It is about to be refused in words: nothing more of it is taken, and another may have its place. */
  refused(call: OpenCall): void;
  /** One side has reset the stream, or both have ended it. */
  ended(stream: ServerHttp2Stream): void;
  stop(): void;
};

/** Calls that take too long are looked for so often, instead of a timer for each. */
const SWEEP_MS = 5_000;
const REFUSAL_SWEEPS = 1;
const MESSAGE_SWEEPS = LIMITS.messageMs / SWEEP_MS;
const CALL_SWEEPS = LIMITS.callMs / SWEEP_MS;

/** None is open yet. */
export function createOpenCalls({
  traffic,
  clock,
  refused,
}: {
  readonly traffic: Traffic;
  readonly clock: Clock;
  readonly refused: OnRefusal;
}): OpenCalls {
  const calls = new Map<ServerHttp2Stream, OpenCall>();
  let sweeps = 0;
  let timer: Timer | undefined;

  const sweep = (): void => {
    sweeps += 1;
    for (const [stream, call] of calls) {
      const age = sweeps - call.since;
      if (age <= REFUSAL_SWEEPS) break;
      end(stream, call, age);
    }
    timer = calls.size > 0 ? clock.setTimer(SWEEP_MS, sweep) : undefined;
  };

  const end = (stream: ServerHttp2Stream, call: OpenCall, age: number): void => {
    if (!call.begun) return;
    if (call.place === undefined) {
      // Its client does not read that it was refused, or does not end its request.
      resetStream(stream, constants.NGHTTP2_REFUSED_STREAM);
    } else if (!call.received && age > MESSAGE_SWEEPS && !traffic.isPaused(call.connection)) {
      refused('late');
      resetStream(stream, constants.NGHTTP2_CANCEL);
    } else if (age <= CALL_SWEEPS) {
      return;
    } else if (call.ended || stream.closed) {
      // It was answered long ago: its client does not read.
      refused('unread');
      stream.session?.destroy();
    } else {
      refused('unended');
      resetStream(stream, constants.NGHTTP2_CANCEL);
    }
  };

  const leavePlace = (call: OpenCall): void => {
    if (call.place !== undefined) traffic.placeLeft(call.connection, call.place);
    call.place = undefined;
  };

  function onClose(this: ServerHttp2Stream): void {
    const call = calls.get(this);
    if (call === undefined) return;
    calls.delete(this);
    traffic.streamClosed(call.connection, call.place, call.reset);
    traffic.freeBytes(call.connection, call.bytes);
  }

  return {
    open(stream, connection, fromMemory) {
      const call: OpenCall = {
        connection,
        since: sweeps,
        place: traffic.streamOpened(connection, fromMemory),
        message: nothingCollected(),
        ...{ begun: false, received: false, ended: false, reset: false, bytes: 0 },
      };
      calls.set(stream, call);
      timer ??= clock.setTimer(SWEEP_MS, sweep);
      stream.on('close', onClose);
      return call;
    },
    get: (stream) => calls.get(stream),
    ended(stream) {
      const call = calls.get(stream);
      if (call === undefined) return;
      call.reset = stream.rstCode !== constants.NGHTTP2_NO_ERROR;
      traffic.streamEnded(call.connection, call.reset);
      // Clearing it away is work too, and one connection that closes has hundreds of them.
      if (call.reset) traffic.frame(call.connection);
      if (!call.begun) leavePlace(call);
    },
    refused(call) {
      call.received = true;
      leavePlace(call);
    },
    stop: () => timer?.cancel(),
  };
}
