/** Work that a signal ends early and in order, so that it leaves no token at a provider. */
import { type Clock, systemClock, type Timer } from '../system/clock.ts';
import { SIGNAL_DEBOUNCE_MS, type SignalSource } from './signals.ts';

/** Ctrl-C, the end of a service, and the end of a terminal or of its connection. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Gives the work a signal that aborts at the first of these; the next one after
 * {@link SIGNAL_DEBOUNCE_MS} ends the process at once.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  clock: Clock = systemClock,
  source: SignalSource = process,
): Promise<T> {
  const interrupt = new AbortController();
  let debounce: Timer | undefined;
  /** Then the next one has its default effect. */
  const unlisten = (): void => {
    for (const name of SIGNALS) source.off(name, onSignal);
  };
  const onSignal = (): void => {
    interrupt.abort();
    debounce ??= clock.setTimer(SIGNAL_DEBOUNCE_MS, unlisten);
  };
  for (const name of SIGNALS) source.on(name, onSignal);
  try {
    return await work(interrupt.signal);
  } finally {
    debounce?.cancel();
    unlisten();
  }
}
