/**
 * What is open on all connections together, and what must give way for it: connections, calls, and the
 * bytes of messages. Counts alone, so that a refusal takes no memory.
 */

/** One connection as it is counted; the functions are its owner's. */
export type Connection = {
  /** Calls that have not ended: an answer that its client has not read belongs to one. */
  calls: number;
  /** Of these, the ones in places that are for calls which are answered from memory. */
  healthChecks: number;
  /** Streams that have neither been reset nor ended by both sides: its client counts them too. */
  streams: number;
  /** Of messages, that are kept for its calls. */
  bytes: number;
  /** Frames that JavaScript has handled in the turn of the event loop with this number. */
  frames: number;
  turn: number;
  readonly close: () => void;
  /** Reads nothing more from its client until `resume`. */
  readonly pause: () => void;
  readonly resume: () => void;
};

export type TrafficLimits = {
  readonly connections: number;
  readonly calls: number;
  /** Streams of one connection that count as open for its client. */
  readonly callsPerConnection: number;
  /** The last places for calls are for connections that have few of them. */
  readonly reservedCalls: number;
  readonly reservedCallsPerConnection: number;
  readonly messageBytesOfAll: number;
  /** The last bytes are for connections that have few of them. */
  readonly reservedBytes: number;
  readonly reservedBytesPerConnection: number;
  readonly framesPerTurn: number;
  /** Streams that are refused or reset, until they have closed. */
  readonly endingStreams: number;
};

/** What a call takes: a place of those for all, or of those for calls that are answered from memory. */
export type Place = 'call' | 'health check';

export type Traffic = {
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
  streamEnded(connection: Connection): void;
  /** Nothing is kept for the stream any more; it has ended before. */
  streamClosed(connection: Connection, place: Place | undefined): void;
  /** Counts bytes that are about to be kept; false where they may not be. */
  keepBytes(connection: Connection, bytes: number): boolean;
  freeBytes(connection: Connection, bytes: number): void;
  /**
   * Counts a frame that JavaScript handles. A connection that had more than its share in this turn of
   * the event loop is not read until the next, so that others have their turn.
   */
  frame(connection: Connection): void;
  readonly open: () => {
    readonly connections: number;
    readonly calls: number;
    readonly streams: number;
    readonly bytes: number;
  };
};

/** Counts of which none has begun; `nextTurn` calls back in the next turn of the event loop. */
export function createTraffic(
  limits: TrafficLimits,
  nextTurn: (callback: () => void) => void = setImmediate,
): Traffic {
  /** Those that have never had a call, those without one, each the longest first, and the others. */
  const silent = new Set<Connection>();
  const idle = new Set<Connection>();
  const busy = new Set<Connection>();
  const paused = new Set<Connection>();
  const count = (): number => silent.size + idle.size + busy.size;
  let calls = 0;
  let healthChecks = 0;
  let streams = 0;
  let bytes = 0;
  let turn = 0;
  let ending = false;
  let allPaused = false;

  const pause = (connection: Connection): void => {
    if (paused.has(connection)) return;
    paused.add(connection);
    connection.pause();
    endTurnLater();
  };
  const endTurnLater = (): void => {
    if (ending) return;
    ending = true;
    nextTurn(endTurn);
  };
  /** Reads on from those that sent little last, and from others where there is room for what may come. */
  const endTurn = (): void => {
    ending = false;
    turn += 1;
    let room = limits.calls + limits.endingStreams - streams;
    allPaused = room <= 0;
    for (const connection of paused) {
      if (connection.frames >= limits.reservedCallsPerConnection) {
        if (room <= 0) continue;
        room -= limits.framesPerTurn;
      }
      paused.delete(connection);
      connection.resume();
    }
    if (paused.size > 0) endTurnLater();
  };
  /** Streams that are refused close in the next turn; what every connection sends would add to them. */
  const pauseAll = (): void => {
    allPaused = true;
    for (const some of [silent, idle, busy]) for (const connection of some) pause(connection);
  };
  const freePlace = (connection: Connection, fromMemory: boolean): Place | undefined => {
    if (connection.streams > limits.callsPerConnection) return undefined;
    const most = limits.reservedCallsPerConnection;
    const reserved = connection.calls < most ? 0 : limits.reservedCalls;
    if (calls < limits.calls - reserved) return 'call';
    const hasRoom = healthChecks < limits.reservedCalls && connection.healthChecks < most;
    return fromMemory && hasRoom ? 'health check' : undefined;
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
      for (const some of [silent, idle, busy, paused]) some.delete(connection);
    },
    streamOpened(connection, fromMemory = false) {
      streams += 1;
      connection.streams += 1;
      if (streams >= limits.calls + limits.endingStreams && !allPaused) pauseAll();
      const place = freePlace(connection, fromMemory);
      if (place === undefined) return undefined;
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
    streamEnded(connection) {
      connection.streams -= 1;
    },
    streamClosed(connection, place) {
      streams -= 1;
      if (place === undefined) return;
      if (place === 'call') calls -= 1;
      else {
        healthChecks -= 1;
        connection.healthChecks -= 1;
      }
      connection.calls -= 1;
      if (connection.calls === 0 && busy.delete(connection)) idle.add(connection);
    },
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
    frame(connection) {
      if (connection.turn !== turn) {
        connection.turn = turn;
        connection.frames = 0;
      }
      connection.frames += 1;
      endTurnLater();
      if (connection.frames === limits.framesPerTurn) pause(connection);
    },
    open: () => ({ connections: count(), calls: calls + healthChecks, streams, bytes }),
  };
}
