/** What a process knows of its logins, whichever session made them: it outlives every reload. */
import type { Clock } from '../../../system/clock.ts';
import { createRefusals, type Refusals } from './refusals.ts';
import { createUnwrappedSecretIDs, type UnwrappedSecretIDs } from './unwrapped.ts';

export type LoginMemory = {
  readonly refusals: Refusals;
  readonly unwrapped: UnwrappedSecretIDs;
};

/** Of a process that has not logged in yet. */
export function createLoginMemory(clock: Clock): LoginMemory {
  return { refusals: createRefusals(clock), unwrapped: createUnwrappedSecretIDs() };
}
