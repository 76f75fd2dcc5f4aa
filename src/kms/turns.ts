/**
 * What is done in one turn of the event loop: frames that are read, calls that are begun and answered, and
 * connections that begin. What is beyond it is done in the next turns, of each connection by turns.
 *
 * While anything is left for a later turn, every other turn reads only from connections that sent little
 * when they were read last, a new one among them; the turns between read from all. In both, the connection
 * that was not read for the longest comes first, as many are read as are expected to fill the turn, and
 * none whose own calls wait.
 */
import { type BeginningLimits, createBeginnings } from './beginnings.ts';
import type { Connection } from './counted.ts';

export type TurnLimits = BeginningLimits & {
  /** A connection with fewer frames in the turn that read it last sends little. */
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
   * Counts a frame that JavaScript handles, one with many bytes as several, or a stream that it clears
   * away. Where those of a turn of the event loop have been handled, nothing more is read in it.
   */
  frame(connection: Connection, bytes?: number): void;
  /** Whether nothing is read of it at present: what it sends comes late, and not by its fault. */
  isPaused(connection: Connection): boolean;
  /** Whether a call may be begun now: counted if so, and otherwise to be given to `beginLater`. */
  mayBegin(connection: Connection): boolean;
  /**
   * Calls `start` in a later turn: each begins calls of all connections by turns. Nothing is read of the
   * connection before all its calls have begun. One that answers false had ended, and does not count.
   */
  beginLater(connection: Connection, start: () => boolean): void;
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
  /** All of them, the one that was not read for the longest first, and those that are not read. */
  const all = new Set<Connection>();
  const paused = new Set<Connection>();
  let turn = 0;
  /** Frames of this turn, and calls that were begun and answered in it. */
  let frames = 0;
  let begun = 0;
  let answered = 0;
  let ending = false;
  /** All connections are paused when this number of frames has been handled. */
  let pauseAt = limits.framesPerTurn;
  /** What waits for a later turn: connections; calls, of the connection that is next first; answers. */
  const beginnings = createBeginnings(limits);
  const starts = new Map<Connection, (() => boolean)[]>();
  let waiting = 0;
  let answers: (() => void)[] = [];
  /** Whether this turn reads also from those that sent much. */
  let isForAll = true;
  /** Whether the next of these turns is one for a connection that begins with many bytes. */
  let isForLarge = true;
  const few = limits.reservedCallsPerConnection;

  const endTurnLater = (): void => {
    if (ending) return;
    ending = true;
    nextTurn(endTurn);
  };
  const isWaiting = (): boolean =>
    paused.size > 0 || beginnings.size() > 0 || starts.size > 0 || answers.length > 0;
  const beginCalls = (): void => {
    for (const [connection, queue] of starts) {
      if (begun >= limits.callsPerTurn) return;
      let isBegun = false;
      while (!isBegun && queue.length > 0) {
        waiting -= 1;
        isBegun = queue.shift()?.() === true;
      }
      if (isBegun) begun += 1;
      // The map hands out again what is set again, after all others.
      if (starts.delete(connection) && queue.length > 0) starts.set(connection, queue);
    }
  };
  const answerCalls = (): void => {
    const now = answers.slice(0, limits.callsPerTurn - answered);
    answers = answers.slice(now.length);
    answered += now.length;
    for (const resolve of now) resolve();
  };
  /** In frames: each call that waits has been two, and is more work than these. */
  const room = (): number => limits.framesPerTurn - frames - 2 * waiting;
  /** One at least, so that calls of others that wait keep none from its beginning. */
  const beginSmall = (): void => {
    do {
      const next = beginnings.nextSmall();
      if (next === undefined) return;
      frames += next.cost;
      next.begin();
    } while (room() > 0);
  };
  /** Whether a connection has begun that takes the turn for itself. */
  const beginLarge = (): boolean => {
    const next = isForLarge ? beginnings.nextLarge() : undefined;
    isForLarge = next === undefined;
    next?.begin();
    return next !== undefined;
  };
  const readOn = (readsMuch: boolean): void => {
    let left = limits.framesPerTurn;
    for (const connection of all) {
      if (!paused.has(connection)) continue;
      const isTurn = left > 0 && (connection.frames < few || readsMuch);
      // What it sends begins at once, or has room to wait.
      const mayBeRead = !starts.has(connection) && (connection.calls <= few || room() > 0);
      if (isTurn && mayBeRead) {
        paused.delete(connection);
        if (!connection.isSilent) left -= connection.frames;
        connection.isSilent = true;
        connection.resume();
      } else {
        // Node reads on when it has written, but not before the next turn.
        connection.pause();
      }
    }
  };
  const endTurn = (): void => {
    ending = false;
    turn += 1;
    frames = 0;
    begun = 0;
    answered = 0;
    pauseAt = limits.framesPerTurn;
    if (!isWaiting()) return;
    answerCalls();
    beginCalls();
    isForAll = !isForAll;
    if (!isForAll) beginSmall();
    readOn(isForAll && room() > 0 && roomForStreams() > 0 && !beginLarge());
    if (isWaiting()) endTurnLater();
  };
  /** What every connection sends would add to this turn, and to the streams that close after it. */
  const pauseAll = (): void => {
    for (const connection of all) {
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
        connection.isSilent = false;
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
      if (cost < limits.framesPerTurn && beginnings.size() === 0 && cost <= room()) {
        frames += cost;
        begin();
      } else {
        beginnings.wait({ cost, begin });
      }
      endTurnLater();
    },
  };
}
