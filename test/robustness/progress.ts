/** A line about a run that is under way. */
import { megabytes } from '../soak/verdict.ts';
import type { Recorder } from './recorder.ts';

/** Calls so far, what failed, and the faults of this moment. */
export function progressOf({ events, now }: Pick<Recorder, 'events' | 'now'>): string {
  const open = new Map<number, string>();
  let [calls, failed, faults] = [0, 0, 0];
  for (const event of events) {
    if (event.e === 'end') {
      calls += 1;
      if (event.code !== 'OK') failed += 1;
    }
    if (event.e !== 'fault') continue;
    if (event.phase === 'end') open.delete(event.id);
    else {
      faults += 1;
      open.set(event.id, `${event.kind}${event.node === undefined ? '' : ` of ${event.node}`}`);
    }
  }
  const seconds = (now() / 1000).toFixed(0).padStart(4);
  const memory = megabytes(process.memoryUsage().rss);
  return `${seconds} s  ${calls} calls  ${failed} failed  ${faults} faults  now: ${[...open.values()].join(', ') || 'none'}  (${memory} MB)`;
}
