/** A log whose level and format can change while others hold it. */
import type { Log } from '../observe/log.ts';

export type LiveLog = {
  /** Writes to whatever log is the current one, and so do all that were made from it. */
  readonly log: Log;
  become(next: Log): void;
};

/** A log that is `first` until it becomes another. */
export function createLiveLog(first: Log): LiveLog {
  let current = first;
  return {
    log: following(() => current),
    become(next) {
      current = next;
    },
  };
}

function following(target: () => Log): Log {
  return {
    get debug() {
      return target().debug;
    },
    get info() {
      return target().info;
    },
    get warn() {
      return target().warn;
    },
    get error() {
      return target().error;
    },
    with(fields) {
      let of: Log | undefined;
      let made = target().with(fields);
      return following(() => {
        const now = target();
        if (now !== of) made = now.with(fields);
        of = now;
        return made;
      });
    },
  };
}
