/** A closed loop: callers with one call each at a time, and a pause between two calls. */
import { setTimeout as sleep } from 'node:timers/promises';

export type Callers = {
  /** Resolves when all callers have ended; rejects as the first call that did. */
  readonly ended: Promise<void>;
  /** No further call begins; then as `ended`. */
  stop(): Promise<void>;
};

export type CallersOptions = {
  readonly count: number;
  /** Between two calls of one caller, in milliseconds. */
  readonly pauseMs: number;
};

/** Starts the callers; a call that rejects ends its caller. */
export function startCallers(
  { count, pauseMs }: CallersOptions,
  call: (caller: number) => Promise<void>,
): Callers {
  let running = true;
  const run = async (caller: number): Promise<void> => {
    while (running) {
      await call(caller);
      if (pauseMs > 0) await sleep(pauseMs);
    }
  };
  const all = Promise.all(Array.from({ length: count }, (_, caller) => run(caller)));
  const ended = all.then(() => undefined);
  ended.catch(() => undefined); // reported by stop()
  return {
    ended,
    async stop() {
      running = false;
      await ended;
    },
  };
}
