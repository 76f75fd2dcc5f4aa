/** Work that a signal ends early and in order, so that it leaves no token at a provider. */
import { type Clock, systemClock, type Timer } from '../system/clock.ts';
import { ONE_WISH_MS, type SignalSource } from './signals.ts';

/** Ctrl-C, the end of a service, and the end of a terminal or of its connection. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Gives the work a signal that aborts at the first of these; the next one that is a wish of its own
 * ({@link ONE_WISH_MS}) ends the process at once.
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  clock: Clock = systemClock,
  source: SignalSource = process,
): Promise<T> {
  const interrupt = new AbortController();
  let oneWish: Timer | undefined;
  /** Then the next one has its default effect. */
  const unlisten = (): void => {
    for (const name of SIGNALS) source.off(name, onSignal);
  };
  const onSignal = (): void => {
    interrupt.abort();
    oneWish ??= clock.setTimer(ONE_WISH_MS, unlisten);
  };
  for (const name of SIGNALS) source.on(name, onSignal);
  try {
    return await work(interrupt.signal);
  } finally {
    oneWish?.cancel();
    unlisten();
  }
}
