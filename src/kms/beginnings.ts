/** Connections that wait to begin: those that begin with few bytes and those with many, by turns. */
export type Beginning = {
  /** As much work as so many frames. */
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
  /** What a connection that begins with so many bytes costs. */
  costOf(bytes: number): number;
  wait(beginning: Beginning): void;
  /** The next ones come from the other kind first. */
  turnOver(): void;
  next(): Beginning | undefined;
};

/** None waits yet. */
export function createBeginnings({
  framesPerTurn,
  sessionFrames,
  firstBytes,
}: BeginningLimits): Beginnings {
  const small: Beginning[] = [];
  const large: Beginning[] = [];
  let order = [small, large];
  return {
    size: () => small.length + large.length,
    costOf: (bytes) => (bytes > firstBytes ? framesPerTurn : sessionFrames),
    wait: (beginning) => void (beginning.cost < framesPerTurn ? small : large).push(beginning),
    turnOver() {
      order = order.toReversed();
    },
    next: () => order[0]?.shift() ?? order[1]?.shift(),
  };
}
