/** Connections that wait to begin: those that begin with few bytes, and those with many. */
export type Beginning = {
  /** The work of it, in frames. */
  readonly cost: number;
  readonly begin: () => void;
};

export type BeginningLimits = {
  /** Work of all connections in a turn of the event loop. */
  readonly framesPerTurn: number;
  /** So many frames are as much work as the beginning of a connection with few bytes. */
  readonly sessionFrames: number;
  /** A connection that begins with more fills a turn. */
  readonly firstBytes: number;
};

export type Beginnings = {
  readonly size: () => number;
  /** The work of a connection that begins with this number of bytes, in frames. */
  costOf(bytes: number): number;
  wait(beginning: Beginning): void;
  nextSmall(): Beginning | undefined;
  /** Of one that fills a turn. */
  nextLarge(): Beginning | undefined;
};

/** None waits yet. */
export function createBeginnings({
  framesPerTurn,
  sessionFrames,
  firstBytes,
}: BeginningLimits): Beginnings {
  const small: Beginning[] = [];
  const large: Beginning[] = [];
  return {
    size: () => small.length + large.length,
    costOf: (bytes) => (bytes > firstBytes ? framesPerTurn : sessionFrames),
    wait: (beginning) => void (beginning.cost < framesPerTurn ? small : large).push(beginning),
    nextSmall: () => small.shift(),
    nextLarge: () => large.shift(),
  };
}
