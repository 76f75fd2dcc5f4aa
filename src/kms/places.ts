/**
 * What is open on all connections together, and what must give way for it: connections, calls, streams
 * and the bytes of messages. Counts alone, so that a refusal takes no memory.
 */
import type { Connection } from './counted.ts';

export type PlaceLimits = {
  readonly connections: number;
  readonly calls: number;
  /** Streams of one connection that count as open for its client. */
  readonly streamsPerConnection: number;
  /** The last places for calls are for connections that have few of them. */
  readonly reservedCalls: number;
  readonly reservedCallsPerConnection: number;
  readonly messageBytesOfAll: number;
  /** The last bytes are for connections that have few of them. */
  readonly reservedBytes: number;
  readonly reservedBytesPerConnection: number;
  /** Streams that are refused or reset, until they have closed. */
  readonly endingStreams: number;
};

/** What a call takes: a place of those for all, or of those for calls that are answered from memory. */
export type Place = 'call' | 'health check';

export type Places = {
  /**
   * Counts a new connection. Where there are too many, the one that has been silent for the longest
   * is `replaced`, or else the one without a call for the longest; where each has one, the new one is
   * `refused`.
   */
  opened(connection: Connection): 'counted' | 'replaced' | 'refused';
  closed(connection: Connection): void;
  /**
   * Counts a new stream, and answers the place of its call; undefined where it has to be refused. A call
   * that is answered from memory has places beyond those of all others, for a health check among calls
   * that wait; a connection can have few of these.
   */
  streamOpened(connection: Connection, fromMemory?: boolean): Place | undefined;
  /** One side has reset the stream, or both have ended it: its client may open another. */
  streamEnded(connection: Connection, wasReset?: boolean): void;
  /** Nothing will be done for a call: it was refused, or reset before it began. Another may have the place. */
  placeLeft(connection: Connection, place: Place): void;
  /** Nothing is kept for the stream any more; it has ended before. */
  streamClosed(connection: Connection, place: Place | undefined, wasReset?: boolean): void;
  /** Whether a call without a place is to be reset at once: as many as may be refused in words are kept. */
  isFull(): boolean;
  /** Counts bytes that are about to be kept; false where they may not be. */
  keepBytes(connection: Connection, bytes: number): boolean;
  freeBytes(connection: Connection, bytes: number): void;
  readonly open: () => {
    readonly connections: number;
    readonly calls: number;
    readonly streams: number;
    readonly bytes: number;
  };
};

/** Counts of which none has begun; `noRoom` is called where no more streams may come before others have closed. */
export function createPlaces(
  limits: PlaceLimits,
  noRoom: () => void,
): Places & {
  /** So many streams may come. */
  readonly roomForStreams: () => number;
} {
  /** Those that have never had a call, those without one, each the longest first, and the others. */
  const silent = new Set<Connection>();
  const idle = new Set<Connection>();
  const busy = new Set<Connection>();
  const count = (): number => silent.size + idle.size + busy.size;
  let calls = 0;
  let healthChecks = 0;
  let streams = 0;
  /** Of these, the ones that have been reset: they close in a turn or two. */
  let closingStreams = 0;
  let bytes = 0;

  /**
   * What is open stays for as long as its client likes, and keeps nobody else from being read: only those
   * that are about to close are waited for.
   */
  const roomForStreams = (): number =>
    Math.max(limits.calls + limits.endingStreams - streams, limits.endingStreams - closingStreams);
  const freePlace = (connection: Connection, fromMemory: boolean): Place | undefined => {
    if (connection.streams > limits.streamsPerConnection) return undefined;
    const most = limits.reservedCallsPerConnection;
    const reserved = connection.calls < most ? 0 : limits.reservedCalls;
    if (calls < limits.calls - reserved) return 'call';
    const hasRoom = healthChecks < limits.reservedCalls && connection.healthChecks < most;
    return fromMemory && hasRoom ? 'health check' : undefined;
  };
  const leavePlace = (connection: Connection, place: Place): void => {
    if (place === 'call') calls -= 1;
    else {
      healthChecks -= 1;
      connection.healthChecks -= 1;
    }
    connection.calls -= 1;
    if (connection.calls === 0 && busy.delete(connection)) idle.add(connection);
  };

  return {
    opened(connection) {
      if (count() < limits.connections) {
        silent.add(connection);
        return 'counted';
      }
      const from = silent.size > 0 ? silent : idle;
      const [longest] = from;
      if (longest === undefined) return 'refused';
      from.delete(longest);
      silent.add(connection);
      longest.close();
      return 'replaced';
    },
    closed(connection) {
      for (const some of [silent, idle, busy]) some.delete(connection);
    },
    streamOpened(connection, fromMemory = false) {
      streams += 1;
      connection.streams += 1;
      if (roomForStreams() === 0) noRoom();
      const place = freePlace(connection, fromMemory);
      if (place === undefined) return undefined;
      connection.refused = 0;
      if (place === 'call') calls += 1;
      else {
        healthChecks += 1;
        connection.healthChecks += 1;
      }
      connection.calls += 1;
      if (connection.calls > 1) return place;
      if (idle.delete(connection) || silent.delete(connection)) busy.add(connection);
      return place;
    },
    streamEnded(connection, wasReset = false) {
      connection.streams -= 1;
      if (!wasReset) return;
      closingStreams += 1;
      if (roomForStreams() === 0) noRoom();
    },
    placeLeft: leavePlace,
    streamClosed(connection, place, wasReset = false) {
      streams -= 1;
      if (wasReset) closingStreams -= 1;
      if (place !== undefined) leavePlace(connection, place);
    },
    isFull: () => streams > limits.calls + limits.reservedCalls + limits.endingStreams,
    keepBytes(connection, more) {
      const few = connection.bytes + more <= limits.reservedBytesPerConnection;
      const most = limits.messageBytesOfAll - (few ? 0 : limits.reservedBytes);
      if (bytes + more > most) return false;
      bytes += more;
      connection.bytes += more;
      return true;
    },
    freeBytes(connection, less) {
      bytes -= less;
      connection.bytes -= less;
    },
    roomForStreams,
    open: () => ({ connections: count(), calls: calls + healthChecks, streams, bytes }),
  };
}
