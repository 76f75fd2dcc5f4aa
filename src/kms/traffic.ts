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
  /** The turn in which it was read again after a pause. */
  resumed: number;
  /** Streams that were reset for want of room since the last call that had a place. */
  refused: number;
  readonly close: () => void;
  /** Whether what was written to it waits for its client to read. */
  readonly isUnread: () => boolean;
  /** Reads nothing more from its client until `resume`. */
  readonly pause: () => void;
  readonly resume: () => void;
};

/** What is counted of a connection. */
export type Counted = Omit<Connection, 'close' | 'isUnread' | 'pause' | 'resume'>;

/** The counts of a new connection. */
export function nothingCounted(): Counted {
  return {
    calls: 0,
    healthChecks: 0,
    streams: 0,
    bytes: 0,
    frames: 0,
    turn: -1,
    resumed: -1,
    refused: 0,
  };
}

export type TrafficLimits = {
  readonly connections: number;
  readonly calls: number;
  /** Streams of one connection that count as open for its client, and a turn longer. */
  readonly streamsPerConnection: number;
  /** The last places for calls are for connections that have few of them. */
  readonly reservedCalls: number;
  readonly reservedCallsPerConnection: number;
  readonly messageBytesOfAll: number;
  /** The last bytes are for connections that have few of them. */
  readonly reservedBytes: number;
  readonly reservedBytesPerConnection: number;
  /** Of all connections, beyond the one read that takes the last of them. */
  readonly framesPerTurn: number;
  /** Calls that are begun in a turn, beside those of connections that have few. */
  readonly callsPerTurn: number;
  /** So many frames are as much work as the beginning of a connection. */
  readonly sessionFrames: number;
  /** A connection that begins with more waits for a turn with room for it, of so many that wait. */
  readonly firstBytes: number;
  readonly waitingFirst: number;
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
  streamEnded(connection: Connection, wasReset?: boolean): void;
  /** Its client has reset a stream before anything was done for its call: another may have the place. */
  placeLeft(connection: Connection, place: Place): void;
  /** Nothing is kept for the stream any more; it has ended before. */
  streamClosed(connection: Connection, place: Place | undefined, wasReset?: boolean): void;
  /** Whether a call without a place is to be reset at once: as many as may be refused in words are kept. */
  isFull(): boolean;
  /** Counts bytes that are about to be kept; false where they may not be. */
  keepBytes(connection: Connection, bytes: number): boolean;
  freeBytes(connection: Connection, bytes: number): void;
  /**
   * Counts a frame that JavaScript handles, or a stream that it clears away. Where those of a turn of
   * the event loop have been handled, nothing more is read in it. The next one reads from each connection
   * that sent little, and of those that sent much as many as are expected to fill the turn, the one that
   * was not read for the longest first: a call waits for one read of another connection, not for one of
   * each.
   */
  frame(connection: Connection): void;
  /** Whether nothing is read of it at present: what it sends comes late, and not by its fault. */
  isPaused(connection: Connection): boolean;
  /** Whether a call may be begun now: counted if so, and otherwise to be given to `beginLater`. */
  mayBegin(connection: Connection): boolean;
  /** Calls `start` in a later turn: each begins calls of all connections by turns. */
  beginLater(connection: Connection, start: () => void): void;
  /** Calls `begin` with the first bytes of a connection: at once, or in a turn that has room for many. */
  begin(bytes: number, begin: () => void): void;
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
  /** All of them in the order in which they were read last, and those that are not read. */
  const all = new Set<Connection>();
  const paused = new Set<Connection>();
  const count = (): number => silent.size + idle.size + busy.size;
  let calls = 0;
  let healthChecks = 0;
  let streams = 0;
  /** Of these, the ones that have been reset: they close in a turn or two. */
  let closingStreams = 0;
  let bytes = 0;
  let turn = 0;
  /** Frames of this turn. */
  let frames = 0;
  let ending = false;
  /** All are paused when there have been so many. */
  let pauseAt = limits.framesPerTurn;
  const beginnings: { readonly cost: number; readonly begin: () => void }[] = [];
  /** Calls that were begun in this turn, and those that wait for a later one. */
  let begun = 0;
  let waiting = 0;
  const starts = new Map<Connection, (() => void)[]>();
  /** Frames of a connection that was quiet; one with fewer is read before all others. */
  const few = limits.reservedCallsPerConnection;
  /** Whether connections that begin come before those that are paused: by turns. */
  let beginsFirst = true;
  /** The same, of those that were quiet and those that were not. */
  let quietFirst = false;

  /**
   * So many streams may come. What is open stays for as long as its client likes, and keeps nobody else
   * from being read: only those that are about to close are waited for.
   */
  const roomForStreams = (): number =>
    Math.max(limits.calls + limits.endingStreams - streams, limits.endingStreams - closingStreams);
  const endTurnLater = (): void => {
    if (ending) return;
    ending = true;
    nextTurn(endTurn);
  };
  const beginCalls = (): void => {
    while (waiting > 0 && begun < limits.callsPerTurn) {
      for (const [connection, queue] of starts) {
        const start = queue.shift();
        if (queue.length === 0) starts.delete(connection);
        waiting -= 1;
        begun += 1;
        start?.();
        if (begun >= limits.callsPerTurn) break;
      }
    }
  };
  /**
   * Reads on from those that sent little last, and from nobody else before these have been read: what has
   * been received already is handled before anything is read, and may be all that a turn has room for.
   */
  const endTurn = (): void => {
    turn += 1;
    frames = 0;
    begun = 0;
    pauseAt = limits.framesPerTurn;
    for (const connection of paused) {
      if (connection.frames < few) resume(connection);
    }
    if (paused.size > 0 || beginnings.length > 0 || waiting > 0) nextTurn(goOn);
    else ending = false;
  };
  const readQuiet = (): void => {
    for (const connection of paused) if (connection.frames === few) resume(connection);
  };
  /** Begins what waits, and reads on from others where there is room for what may come. */
  const goOn = (): void => {
    ending = false;
    beginCalls();
    let room = roomForStreams();
    // Those that sent little leave room for one other; each call that waits has been two frames, and is
    // more work than these.
    let expected = Math.min(frames, limits.framesPerTurn - 1) + 2 * waiting;
    const isFull = room <= 0 || expected >= limits.framesPerTurn;
    const beginConnections = (): void => {
      while (room > 0 && expected < limits.framesPerTurn) {
        const next = beginnings.shift();
        if (next === undefined) break;
        expected += next.cost;
        beginsFirst = false;
        next.begin();
      }
    };
    // What is read first may be all that is: each comes first in every other turn.
    quietFirst = !quietFirst;
    if (quietFirst && !isFull) readQuiet();
    const areFirst = beginsFirst;
    if (areFirst) beginConnections();
    for (const connection of all) {
      if (connection.frames === few || !paused.has(connection)) continue;
      if (room > 0 && expected < limits.framesPerTurn) {
        room -= connection.frames;
        expected += connection.frames;
        beginsFirst = true;
        resume(connection);
      }
    }
    if (!areFirst) beginConnections();
    if (!quietFirst && !isFull) readQuiet();
    // Node reads on when it has written.
    for (const connection of paused) connection.pause();
    if (paused.size > 0 || beginnings.length > 0 || waiting > 0) endTurnLater();
  };
  const resume = (connection: Connection): void => {
    paused.delete(connection);
    connection.resumed = turn;
    connection.resume();
  };
  /** What every connection sends would add to this turn, and to the streams that close after it. */
  const pauseAll = (): void => {
    for (const connection of all) {
      // It was read for a whole turn, and sent nothing: it waits no more for those that send much now.
      const wasQuiet = connection.resumed < turn && connection.turn < turn - 1;
      if (wasQuiet && !paused.has(connection)) connection.frames = Math.min(connection.frames, few);
      paused.add(connection);
      connection.pause();
    }
    endTurnLater();
  };
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
        all.add(connection);
        return 'counted';
      }
      const from = silent.size > 0 ? silent : idle;
      const [longest] = from;
      if (longest === undefined) return 'refused';
      from.delete(longest);
      silent.add(connection);
      all.add(connection);
      longest.close();
      return 'replaced';
    },
    closed(connection) {
      for (const some of [silent, idle, busy, all, paused]) some.delete(connection);
    },
    streamOpened(connection, fromMemory = false) {
      streams += 1;
      connection.streams += 1;
      if (roomForStreams() === 0) pauseAll();
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
      if (roomForStreams() === 0) pauseAll();
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
    frame(connection) {
      if (connection.turn !== turn) {
        connection.turn = turn;
        connection.frames = 0;
        if (all.delete(connection)) all.add(connection);
      }
      connection.frames += 1;
      frames += 1;
      endTurnLater();
      if (frames < pauseAt) return;
      pauseAt += limits.framesPerTurn;
      pauseAll();
    },
    isPaused: (connection) => paused.has(connection),
    mayBegin(connection) {
      if (connection.calls <= limits.reservedCallsPerConnection) return true;
      if (begun >= limits.callsPerTurn || starts.has(connection)) return false;
      begun += 1;
      endTurnLater();
      return true;
    },
    beginLater(connection, start) {
      const queue = starts.get(connection);
      if (queue === undefined) starts.set(connection, [start]);
      else queue.push(start);
      waiting += 1;
      endTurnLater();
    },
    begin(count, begin) {
      const cost = count > limits.firstBytes ? limits.framesPerTurn : limits.sessionFrames;
      const hasRoom = beginnings.length === 0 && frames + cost <= limits.framesPerTurn;
      if ((count <= limits.firstBytes && hasRoom) || beginnings.length >= limits.waitingFirst) {
        frames += cost;
        begin();
      } else {
        beginnings.push({ cost, begin });
      }
      endTurnLater();
    },
    open: () => ({ connections: count(), calls: calls + healthChecks, streams, bytes }),
  };
}
