/**
 * How many requests may be under way at once. Few make larger batches and less work for the
 * provider; one that is far away needs more of them, or calls wait for a slot longer than for it.
 */
export type Slots = {
  /** Takes a slot; false where none is free. */
  take(): boolean;
  /** Gives one back after so many milliseconds; `answered` where they measure the provider. */
  give(tookMs: number, answered: boolean): void;
  busy(): number;
};

const LEAST = 2;
export const MOST = 16;
/** One more slot for each so many milliseconds of way. */
const MS_PER_SLOT = 3;
/** How fast a way that has become longer is believed: what is slow now may only be busy. */
const FORGET = 1.02;
const FORGET_MS = 0.02;

/** Slots for a provider of which nothing is known yet. */
export function createSlots(): Slots {
  let busy = 0;
  /** The shortest time that was seen lately, in milliseconds. */
  let way: number | undefined;
  return {
    take() {
      const limit = Math.min(MOST, Math.max(LEAST, 1 + Math.round((way ?? 0) / MS_PER_SLOT)));
      if (busy >= limit) return false;
      busy += 1;
      return true;
    },
    give(tookMs, answered) {
      busy -= 1;
      if (answered) way = way === undefined ? tookMs : Math.min(tookMs, way * FORGET + FORGET_MS);
    },
    busy: () => busy,
  };
}
