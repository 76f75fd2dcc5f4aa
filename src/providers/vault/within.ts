/** A limit for work that takes no signal. */
import { type Clock, sleep } from '../../system/clock.ts';

/** What the work gives, or `late` where that takes more than so many milliseconds; the work goes on. */
export async function within<T>(
  clock: Clock,
  ms: number,
  work: Promise<T>,
  late: () => T,
): Promise<T> {
  const done = new AbortController();
  try {
    return await Promise.race([work, sleep(clock, ms, done.signal).then(late)]);
  } finally {
    done.abort();
  }
}
