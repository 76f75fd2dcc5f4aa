/** How long a server may keep a request to itself where another one could be asked. */
export type Pace = {
  /** It answered after so many milliseconds, or had not answered yet when its caller left. */
  saw(ms: number): void;
  limitMs(): number;
};

/** One that hangs must leave time for the next, within kube-apiserver's 3 s. */
const LEAST_MS = 1_000;
/** One that is slow but sound must not look as if it hung: it has twice what it took lately. */
const TIMES = 2;
/** Whatever it took lately, something is left for the next. */
const MOST_MS = 2_000;
const FADE = 0.9;

/** Of a server that has not answered yet. */
export function createPace(): Pace {
  let slowest = 0;
  return {
    saw(ms) {
      slowest = Math.max(ms, slowest * FADE);
    },
    limitMs: () => Math.min(MOST_MS, Math.max(LEAST_MS, slowest * TIMES)),
  };
}
