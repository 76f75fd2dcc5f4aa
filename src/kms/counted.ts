/** One connection of a client as it is counted; the functions are its owner's. */
export type Connection = {
  /** Calls that have not ended: an answer that its client has not read belongs to one. */
  calls: number;
  /** Of these, the ones in places that are for calls which are answered from memory. */
  healthChecks: number;
  /** Streams that have neither been reset nor ended by both sides: its client counts them too. */
  streams: number;
  /** Of messages, that are kept for its calls. */
  bytes: number;
  /** Frames that JavaScript has handled in the turn of the event loop with this number, which read it last. */
  frames: number;
  turn: number;
  /** It has sent nothing since it was read again after a pause. */
  isSilent: boolean;
  /** Streams that were reset for want of room since the last call that had a place. */
  refused: number;
  /** A call of it was answered, or refused in words. */
  isAnswered: boolean;
  readonly close: () => void;
  /** Whether what was written to it waits for its client to read. */
  readonly isUnread: () => boolean;
  /** Whether its client has closed it, also where what was sent before has not been read. */
  readonly isGone: () => boolean;
  /** Reads nothing more from its client until `resume`. */
  readonly pause: () => void;
  readonly resume: () => void;
};

/** What is counted of a connection. */
export type Counted = Omit<Connection, 'close' | 'isUnread' | 'isGone' | 'pause' | 'resume'>;

/** The counts of a new connection. */
export function nothingCounted(): Counted {
  return {
    calls: 0,
    healthChecks: 0,
    streams: 0,
    bytes: 0,
    frames: 0,
    turn: -1,
    isSilent: false,
    refused: 0,
    isAnswered: false,
  };
}
