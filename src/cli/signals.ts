/** The signals that a service gets. */
import type { Log } from '../observe/log.ts';

export type Signals = {
  /** The first SIGTERM or SIGINT. */
  readonly stop: Promise<void>;
  /** The next one: an end at once. */
  readonly again: Promise<void>;
  /** Calls back at every SIGHUP, and at once for one that came before. */
  onHangup(callback: () => void): void;
};

/** Listens from now on until the process ends. */
export function listenForSignals(log: Log): Signals {
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  let asked = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      log.info?.(asked ? 'stopping at once' : 'stopping', { signal });
      (asked ? second : first).resolve();
      asked = true;
    });
  }
  let pending = false;
  let hangup = (): void => {
    pending = true;
  };
  // Whoever sends SIGHUP expects a service to live on.
  process.on('SIGHUP', () => hangup());
  return {
    stop: first.promise,
    again: second.promise,
    onHangup(callback) {
      hangup = callback;
      if (pending) callback();
    },
  };
}
