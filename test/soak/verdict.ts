/** Whether a soak run was good, decided from its samples alone. Pure. */
import { median, type Point, slopeOf } from './slope.ts';

/** What was seen at one moment, and since the moment before. */
export type Sample = {
  readonly seconds: number;
  /** Calls that have ended since the start. */
  readonly calls: number;
  /** Of the daemon: what it has for itself. */
  readonly anonymousBytes: number;
  readonly openFiles: number;
  /** Items that wait in the daemon for a free request to Vault. */
  readonly queued: number;
  /**
   * Of the Status calls since the last sample. They are answered from memory, so it is the delay
   * of the daemon's event loop, and of the client's; undefined where there were none.
   */
  readonly statusP50Ms: number | undefined;
  readonly statusP99Ms: number | undefined;
  /** The most calls under way at the client since the last sample. */
  readonly inFlight: number;
};

export type Limits = {
  readonly bytesPer100kCalls: number;
  readonly openFiles: number;
  readonly statusP99Ms: number;
};

/** By how much the last third of the run may be slower than the first: less is chance. */
const GROWTH = 2;
/** How many more files or queued items the last third may have: connections come and go. */
const MORE_FILES = 8;
const MORE_QUEUED = 64;
/** Fewer samples in a half say nothing about a slope. */
const LEAST_SAMPLES = 6;
const CALLS = 100_000;

/** Bytes for each 100,000 calls over the second half; undefined with too few samples. */
export function memorySlope(samples: readonly Sample[]): number | undefined {
  const half = samples.slice(samples.length >> 1);
  if (half.length < LEAST_SAMPLES) return undefined;
  const perCall = slopeOf(
    half.map(({ calls, anonymousBytes }): Point => ({ x: calls, y: anonymousBytes })),
  );
  return perCall === undefined ? undefined : perCall * CALLS;
}

/** The middle of a figure of the samples, in the first and in the last third. */
export function thirds(
  samples: readonly Sample[],
  figure: (sample: Sample) => number | undefined,
): { readonly first: number | undefined; readonly last: number | undefined } {
  const third = Math.ceil(samples.length / 3);
  const middle = (part: readonly Sample[]): number | undefined =>
    median(part.map(figure).filter((value) => value !== undefined));
  return { first: middle(samples.slice(0, third)), last: middle(samples.slice(-third)) };
}

/** Everything that speaks against the run, as sentences; none where it was good. */
export function verdict(samples: readonly Sample[], limits: Limits): readonly string[] {
  const reasons: string[] = [];
  const slope = memorySlope(samples);
  if (slope === undefined) {
    reasons.push(`too few samples (${samples.length}) to say whether memory grows: run it longer`);
  } else if (slope > limits.bytesPer100kCalls) {
    reasons.push(
      `memory grows by ${megabytes(slope)} MB per 100,000 calls, at most ${megabytes(limits.bytesPer100kCalls)} are allowed`,
    );
  }
  const files = Math.max(0, ...samples.map(({ openFiles }) => openFiles));
  if (files > limits.openFiles)
    reasons.push(`${files} files were open, at most ${limits.openFiles} are allowed`);
  for (const [what, figure, more] of [
    ['open files', (s: Sample) => s.openFiles, MORE_FILES],
    ['queued items', (s: Sample) => s.queued, MORE_QUEUED],
  ] as const) {
    const { first = 0, last = 0 } = thirds(samples, figure);
    if (last > first + more) reasons.push(`${what} grew from ${first} to ${last}`);
  }
  const { first, last } = thirds(samples, ({ statusP99Ms }) => statusP99Ms);
  if (first === undefined || last === undefined) {
    reasons.push('no Status call was answered in the first or in the last third');
  } else if (last > limits.statusP99Ms && last > GROWTH * first) {
    reasons.push(
      `p99 of Status grew from ${first.toFixed(1)} to ${last.toFixed(1)} ms, above ${limits.statusP99Ms} ms`,
    );
  }
  return reasons;
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(2);
}
