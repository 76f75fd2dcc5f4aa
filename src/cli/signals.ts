/** The signals that a service gets. */
import type { Log } from '../observe/log.ts';
import type { Clock } from '../system/clock.ts';

export type Signals = {
  /** The first SIGTERM or SIGINT. */
  readonly stop: Promise<void>;
  /** A SIGTERM or SIGINT after {@link SIGNAL_DEBOUNCE_MS}: an end at once. */
  readonly again: Promise<void>;
  /** Calls back at every SIGHUP, and at once for one that came before. */
  onHangup(callback: () => void): void;
};

/** Where signals come from: the process, or what stands for it in a test. */
export type SignalSource = {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
};

/**
 * Ctrl-C gives SIGINT to each process of a terminal's group, and a parent among them may forward its own:
 * signals within this time of the first one, in milliseconds, count as one request to stop.
 */
export const SIGNAL_DEBOUNCE_MS = 500;

/** Listens from now on until the process ends. */
export function listenForSignals(log: Log, clock: Clock, source: SignalSource = process): Signals {
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  let askedAt: number | undefined;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    source.on(signal, () => {
      if (askedAt === undefined) {
        askedAt = clock.now();
        log.info?.('stopping', { signal });
        first.resolve();
      } else if (clock.now() - askedAt >= SIGNAL_DEBOUNCE_MS) {
        log.info?.('stopping at once', { signal });
        second.resolve();
      }
    });
  }
  let pending = false;
  let hangup = (): void => {
    pending = true;
  };
  // Whoever sends SIGHUP expects a service to live on.
  source.on('SIGHUP', () => hangup());
  return {
    stop: first.promise,
    again: second.promise,
    onHangup(callback) {
      hangup = callback;
      if (pending) callback();
    },
  };
}
