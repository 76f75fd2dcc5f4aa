/** What the driver of the races and its processes say to each other. */

export type Order =
  | { readonly order: 'start'; readonly path: string; readonly word: string }
  | { readonly order: 'stop' };

/** Times are milliseconds of CLOCK_MONOTONIC, which all processes share. */
export type Report =
  | { readonly report: 'serving' | 'stopping' | 'stopped' | 'found'; readonly at: number }
  | { readonly report: 'refused' | 'lost' | 'failed'; readonly at: number; readonly why: string };

/** Milliseconds of CLOCK_MONOTONIC. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
