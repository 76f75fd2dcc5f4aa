/** Calls that wait for the keyring's state to change. */
import type { CallSignal } from '../system/call-signal.ts';

export type Waiters = {
  readonly size: number;
  /** Resolves at the next change, or when the signal aborts. */
  wait(signal: CallSignal): Promise<void>;
  wake(): void;
};

/** Nobody waits yet. */
export function createWaiters(): Waiters {
  const waiting = new Set<() => void>();
  return {
    get size() {
      return waiting.size;
    },
    wait: (signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve();
        const resume = (): void => {
          waiting.delete(resume);
          signal.removeEventListener('abort', resume);
          resolve();
        };
        waiting.add(resume);
        signal.addEventListener('abort', resume, { once: true });
      }),
    wake() {
      const woken = [...waiting];
      waiting.clear();
      for (const resume of woken) resume();
    },
  };
}
