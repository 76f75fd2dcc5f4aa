/**
 * Whether a server is worth a request now. One that failed is left alone for a while, ever longer;
 * then a single request tries it, and its outcome decides.
 */
import type { Clock } from '../../system/clock.ts';

export type Circuit = {
  /** Whether it may be asked now. */
  permits(): boolean;
  /** A request is on its way; an open circuit is then closed to others until its outcome. */
  began(): void;
  succeeded(): void;
  failed(): void;
  /** When it may be tried again, in milliseconds since the epoch; 0 for one that works. */
  openUntil(): number;
};

const FIRST_MS = 1_000;
const MOST_MS = 30_000;

/** A closed circuit: one that lets requests through. */
export function createCircuit(clock: Clock): Circuit {
  let failures = 0;
  let until = 0;
  const wait = (): number => Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10));
  return {
    permits: () => failures === 0 || clock.now() >= until,
    began() {
      if (failures > 0) until = clock.now() + wait();
    },
    succeeded() {
      failures = 0;
      until = 0;
    },
    failed() {
      // Requests that were under way together are one failure.
      if (failures > 0 && clock.now() < until - wait() / 2) return;
      failures += 1;
      until = clock.now() + wait();
    },
    openUntil: () => until,
  };
}
