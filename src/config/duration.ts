/**
 * Durations as people write them in Kubernetes' component configurations: `30s`, `5m`, `1h30m`,
 * `250ms`.
 */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/**
 * The length of a written duration in milliseconds, or undefined where it is not one: whole
 * numbers with a unit each (`ms`, `s`, `m`, `h`), largest unit first, nothing between them.
 */
export function parseDuration(text: string): number | undefined {
  const match = /^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/.exec(text);
  if (match === null || text === '') return undefined;
  const [, h, m, s, ms] = match;
  const total = [h, m, s, ms].reduce(
    (sum, amount, i) => sum + Number(amount ?? 0) * (UNITS[['h', 'm', 's', 'ms'][i] ?? ''] ?? 0),
    0,
  );
  return Number.isSafeInteger(total) ? total : undefined;
}

/** A duration in milliseconds as {@link parseDuration} reads it: `90000` is `1m30s`. */
export function formatDuration(milliseconds: number): string {
  let rest = Math.round(milliseconds);
  if (rest <= 0) return '0s';
  let text = '';
  for (const [unit, size] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
    ['ms', 1],
  ] as const) {
    const amount = Math.floor(rest / size);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * size;
  }
  return text;
}
