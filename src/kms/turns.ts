/**
 * What is done in one turn of the event loop: frames that are read, calls that are begun and answered, and
 * connections that begin. What is beyond it is done in the next turns, of each connection by turns.
 */
import { type BeginningLimits, createBeginnings } from './beginnings.ts';
import type { Connection } from './counted.ts';

export type TurnLimits = BeginningLimits & {
  /** Frames of a connection that sends little: one with fewer in a turn is read before all others. */
  readonly reservedCallsPerConnection: number;
  /** Of all connections, beyond the one read that takes the last of them. */
  readonly framesPerTurn: number;
  /** So many bytes of a message are as much work as one more frame. */
  readonly frameBytes: number;
  /** Calls that are begun in a turn, beside those of connections that have few; and that are answered. */
  readonly callsPerTurn: number;
};

export type Turns = {
  /**
   * Counts a frame that JavaScript handles, one with many bytes as several, or a stream that it clears away. Where those of a turn of
   * the event loop have been handled, nothing more is read in it. The next one reads from each connection
   * that sent little, and of those that sent much as many as are expected to fill the turn, the one that
   * was not read for the longest first: a call waits for one read of another connection, not for one of
   * each.
   */
  frame(connection: Connection, bytes?: number): void;
  /** Whether nothing is read of it at present: what it sends comes late, and not by its fault. */
  isPaused(connection: Connection): boolean;
  /** Whether a call may be begun now: counted if so, and otherwise to be given to `beginLater`. */
  mayBegin(connection: Connection): boolean;
  /**
   * Calls `start` in a later turn: each begins calls of all connections by turns. Nothing is read of the
   * connection before all its calls have begun.
   */
  beginLater(connection: Connection, start: () => void): void;
  /** Whether a call may be answered now: counted if so, and otherwise after `turnToAnswer`. */
  mayAnswer(): boolean;
  /** Resolves in a later turn, in the order of the calls. */
  turnToAnswer(): Promise<void>;
  /** Calls `begin` with the first bytes of a connection: at once, or in a turn that has room for many. */
  begin(bytes: number, begin: () => void): void;
};

/** A first turn in which nothing was done; `nextTurn` calls back in the next turn of the event loop. */
export function createTurns(
  limits: TurnLimits,
  roomForStreams: () => number,
  nextTurn: (callback: () => void) => void,
): Turns & {
  opened(connection: Connection): void;
  closed(connection: Connection): void;
  /** Reads nothing more in this turn. */
  pauseAll(): void;
} {
  /** All of them in the order in which they were read last, and those that are not read. */
  const all = new Set<Connection>();
  const paused = new Set<Connection>();
  let turn = 0;
  /** Frames of this turn. */
  let frames = 0;
  let ending = false;
  /** All are paused when there have been so many. */
  let pauseAt = limits.framesPerTurn;
  const beginnings = createBeginnings(limits);
  /** Calls that were begun and answered in this turn. */
  let begun = 0;
  let answered = 0;
  /** What waits for a later one: calls to begin, of the connection that is next first, and answers. */
  const starts = new Map<Connection, (() => void)[]>();
  let waiting = 0;
  let answers: (() => void)[] = [];
  const few = limits.reservedCallsPerConnection;
  /** Whether connections that begin come before those that are paused: by turns. */
  let beginsFirst = true;
  /** The same, of those that were quiet and those that were not. */
  let quietFirst = false;

  const endTurnLater = (): void => {
    if (ending) return;
    ending = true;
    nextTurn(endTurn);
  };
  const hasRoomFor = (cost: number): boolean => frames + cost <= limits.framesPerTurn;
  const isWaiting = (): boolean =>
    paused.size > 0 || beginnings.size() > 0 || starts.size > 0 || answers.length > 0;
  const beginCalls = (): void => {
    for (const [connection, queue] of starts) {
      if (begun >= limits.callsPerTurn) return;
      begun += 1;
      waiting -= 1;
      // The map hands out again what is set again, after all others.
      starts.delete(connection);
      const start = queue.shift();
      if (queue.length > 0) starts.set(connection, queue);
      start?.();
    }
  };
  const answerCalls = (): void => {
    const now = answers.slice(0, limits.callsPerTurn - answered);
    answers = answers.slice(now.length);
    answered += now.length;
    for (const resolve of now) resolve();
  };
  const resume = (connection: Connection): void => {
    paused.delete(connection);
    connection.resumed = turn;
    connection.resume();
  };
  /** Each call that waits has been two frames, and is more work than these. */
  const isBehind = (): boolean => 2 * waiting >= limits.framesPerTurn;
  /** What it sends begins at once, or none of what it sent before waits: it sends as fast as its calls begin. */
  const mayBeRead = (connection: Connection): boolean =>
    !starts.has(connection) && (connection.calls <= few || !isBehind());
  /**
   * Reads on from those that sent little last, and from nobody else before these have been read: what has
   * been received already is handled before anything is read, and may be all that a turn has room for.
   */
  const endTurn = (): void => {
    turn += 1;
    frames = 0;
    begun = 0;
    answered = 0;
    pauseAt = limits.framesPerTurn;
    for (const connection of paused) {
      if (connection.frames < few && mayBeRead(connection)) resume(connection);
    }
    if (isWaiting()) nextTurn(goOn);
    else ending = false;
  };
  const readQuiet = (): void => {
    for (const connection of paused) {
      if (connection.frames === few && mayBeRead(connection)) resume(connection);
    }
  };
  /** Answers and begins what waits, and reads on from others where there is room for what may come. */
  const goOn = (): void => {
    ending = false;
    answerCalls();
    beginCalls();
    let room = roomForStreams();
    // Those that sent little leave room for one other.
    let expected = Math.min(frames, limits.framesPerTurn - 1) + 2 * waiting;
    const isFull = room <= 0 || expected >= limits.framesPerTurn;
    const beginConnections = (): void => {
      while (room > 0 && expected < limits.framesPerTurn) {
        const next = beginnings.next();
        if (next === undefined) break;
        expected += next.cost;
        beginsFirst = false;
        next.begin();
      }
    };
    // What is read first may be all that is: each comes first in every other turn.
    quietFirst = !quietFirst;
    beginnings.turnOver();
    if (quietFirst && !isFull) readQuiet();
    const areFirst = beginsFirst;
    if (areFirst) beginConnections();
    for (const connection of all) {
      if (connection.frames === few || !paused.has(connection) || !mayBeRead(connection)) continue;
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
    if (isWaiting()) endTurnLater();
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

  return {
    opened: (connection) => void all.add(connection),
    closed(connection) {
      all.delete(connection);
      paused.delete(connection);
      waiting -= starts.get(connection)?.length ?? 0;
      starts.delete(connection);
    },
    pauseAll,
    frame(connection, bytes = 0) {
      if (connection.turn !== turn) {
        connection.turn = turn;
        connection.frames = 0;
        if (all.delete(connection)) all.add(connection);
      }
      const more = 1 + Math.floor(bytes / limits.frameBytes);
      connection.frames += more;
      frames += more;
      endTurnLater();
      if (frames < pauseAt) return;
      pauseAt += limits.framesPerTurn;
      pauseAll();
    },
    isPaused: (connection) => paused.has(connection),
    mayBegin(connection) {
      if (connection.calls <= 2 * few) return true;
      if (starts.size > 0 || begun >= limits.callsPerTurn) return false;
      begun += 1;
      endTurnLater();
      return true;
    },
    beginLater(connection, start) {
      if (!all.has(connection)) return;
      const queue = starts.get(connection);
      if (queue === undefined) starts.set(connection, [start]);
      else queue.push(start);
      waiting += 1;
      paused.add(connection);
      connection.pause();
      endTurnLater();
    },
    mayAnswer() {
      if (answers.length > 0 || answered >= limits.callsPerTurn) return false;
      answered += 1;
      endTurnLater();
      return true;
    },
    turnToAnswer: () =>
      new Promise((resolve) => {
        answers.push(resolve);
        endTurnLater();
      }),
    begin(bytes, begin) {
      const cost = beginnings.costOf(bytes);
      if (cost < limits.framesPerTurn && beginnings.size() === 0 && hasRoomFor(cost)) {
        frames += cost;
        begin();
      } else {
        beginnings.wait({ cost, begin });
      }
      endTurnLater();
    },
  };
}
