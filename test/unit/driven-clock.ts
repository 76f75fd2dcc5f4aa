/** A clock that stands still until a test moves it, so that nothing sleeps for real. */
import type { Clock } from '../../src/system/clock.ts';

export type DrivenClock = Clock & {
  /** By how much the machine's clock was set forward since the start, in milliseconds. */
  aheadMs: number;
  /** Moves on, firing what falls due in its order and letting each one's work settle. */
  advance(ms: number): Promise<void>;
  /**
   * The process stands still for so long, as on a machine without a processor for it. What fell due meanwhile
   * fires once when it goes on; a timer that is set then counts from then.
   */
  stall(ms: number): Promise<void>;
  /** Timers that wait now: an owner that forgot one shows here. */
  readonly pending: number;
};

/** A clock at `start` milliseconds; `random` is what chance gives, 0 unless said otherwise. */
export function createDrivenClock(start = 0, random = 0): DrivenClock {
  let now = start;
  const timers = new Set<{ at: number; callback: () => void }>();
  return {
    aheadMs: 0,
    now: () => now,
    timeOfDay(at) {
      return at + this.aheadMs;
    },
    random: () => random,
    setTimer(ms, callback) {
      const timer = { at: now + Math.max(0, ms), callback };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    async advance(ms) {
      const end = now + ms;
      await settle();
      for (;;) {
        const due = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers.delete(due);
        now = Math.max(now, due.at);
        due.callback();
        await settle();
      }
      now = end;
    },
    async stall(ms) {
      now += ms;
      const due = [...timers].filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
      for (const timer of due) {
        timers.delete(timer);
        timer.callback();
      }
      await settle();
    },
    get pending() {
      return timers.size;
    },
  };
}

/** Lets every promise that can go on go on, and what those leave for the next turns. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
}
