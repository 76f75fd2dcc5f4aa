/** Writes the history of a run, to a file and to memory. */
import { createWriteStream, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { finished } from 'node:stream/promises';
import type { HistoryEvent } from './history.ts';

type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;

export type Recorder = {
  readonly file: string;
  readonly events: readonly HistoryEvent[];
  /** Milliseconds since the start of the run. */
  now(): number;
  /** A time of the machine's clock, in milliseconds since the epoch, on the scale of `now`. */
  at(epochMs: number): number;
  /** Adds an event, now. */
  record(event: Without<HistoryEvent, 't'>): void;
  /** A number that no other call and no fault of this run has. */
  nextId(): number;
  /** Resolves when the file is whole. */
  close(): Promise<void>;
};

/** Starts the history; what the file held before is gone. */
export function startRecorder(file: string): Recorder {
  mkdirSync(dirname(file), { recursive: true });
  const out = createWriteStream(file);
  const events: HistoryEvent[] = [];
  const [began, epoch] = [performance.now(), Date.now()];
  const now = (): number => Math.round((performance.now() - began) * 10) / 10;
  let ids = 0;
  return {
    file,
    events,
    now,
    at: (epochMs) => epochMs - epoch,
    record(event) {
      const whole = { t: now(), ...event } as HistoryEvent;
      events.push(whole);
      out.write(`${JSON.stringify(whole)}\n`);
    },
    nextId() {
      ids += 1;
      return ids;
    },
    async close() {
      out.end();
      await finished(out);
    },
  };
}
