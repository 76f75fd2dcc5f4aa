/**
 * A way to a real Vault on which answers take their time, as through a slow link: Vault has done by
 * then what was asked, whether or not anybody still waits.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Forwarding, startForwarding } from './forwarding.ts';

export type SlowAnswers = Forwarding & {
  /** How many requests to a path have reached Vault and were answered by it. */
  answered(path: string): number;
};

/** `takes` says how long the answer to a path is held back, in milliseconds. */
export async function startSlowAnswers(
  target: string,
  takes: (path: string) => number,
): Promise<SlowAnswers> {
  const answered: string[] = [];
  const forwarding = await startForwarding(target, {
    async answered(url) {
      const path = url.replace('/v1/', '');
      answered.push(path);
      await sleep(takes(path));
    },
  });
  return { ...forwarding, answered: (path) => answered.filter((each) => each === path).length };
}
