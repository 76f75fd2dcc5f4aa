/**
 * Whether a server is worth a request now. One that failed is left alone for a while, ever longer;
 * then a single request tries it, and its outcome decides.
 */
import type { Clock } from '../../system/clock.ts';

export type Circuit = {
  /** Whether it works, as far as is known. */
  closed(): boolean;
  /** Whether it may be asked now. */
  permits(): boolean;
  /** A request is on its way; an open circuit is then closed to others until its outcome. */
  began(): void;
  succeeded(): void;
  /** A request failed that began at `since`, in milliseconds since the epoch. */
  failed(since: number): void;
  /** Whether it last failed at once, so that asking it costs its caller no time. */
  failsFast(): boolean;
  /** Another server of the same Vault has come back: this one may have, too. */
  halfOpen(): void;
  /** When it may be tried again, in milliseconds since the epoch; 0 for one that works. */
  openUntil(): number;
  /** Since when an open one was left alone. */
  idleSince(): number;
};

const FIRST_MS = 1_000;
const MOST_MS = 30_000;
/** Longer than an answer takes that says no, or a connection that is refused. */
const AT_ONCE_MS = 300;

/** A closed circuit: one that lets requests through. */
export function createCircuit(clock: Clock): Circuit {
  let failures = 0;
  /** When the wait after the last failure that counted is over. */
  let due = 0;
  let until = 0;
  let idleSince = 0;
  let fast = true;
  const wait = (): number => Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 10));
  return {
    closed: () => failures === 0,
    permits: () => failures === 0 || clock.now() >= until,
    began() {
      if (failures === 0) return;
      idleSince = clock.now();
      until = idleSince + wait();
    },
    succeeded() {
      failures = 0;
      until = 0;
    },
    failed(since) {
      idleSince = clock.now();
      fast = idleSince - since < AT_ONCE_MS;
      // Requests that were under way together, or sent before the wait was over, are one failure.
      if (failures > 0 && since < due) return;
      failures += 1;
      due = idleSince + wait();
      until = due;
    },
    failsFast: () => fast,
    halfOpen() {
      if (failures === 0) return;
      failures = 1;
      due = clock.now();
      until = due;
    },
    openUntil: () => until,
    idleSince: () => idleSince,
  };
}
