/** What was measured, as a table for people and as JSON for machines. Pure. */
import type { Figures } from './load.ts';
import type { Operation, Way } from './way.ts';

/** One line of the table. */
export type Measurement = Figures & {
  readonly operation: Operation;
  readonly concurrency: number;
  readonly way: Way['name'];
};

/** What the way through the plugin adds; `callsPerSecond` is its rate for each 1 of the direct one. */
export type Difference = {
  readonly operation: Operation;
  readonly concurrency: number;
  readonly callsPerSecond: number | undefined;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
};

export type Report = {
  readonly version: string;
  readonly seconds: number;
  /** False where it was ended early. */
  readonly complete: boolean;
  readonly socket: string | undefined;
  /** The provider's name in the configuration, and what kind it is. */
  readonly direct: { readonly provider: string; readonly kind: 'vault' | 'local' } | undefined;
  /** What a reader must know before comparing. */
  readonly notes: readonly string[];
  readonly measurements: readonly Measurement[];
};

/** One for each pair that was measured both ways. */
export function differencesOf(measurements: readonly Measurement[]): readonly Difference[] {
  return measurements.flatMap((plugin) => {
    if (plugin.way !== 'plugin') return [];
    const { operation, concurrency } = plugin;
    const direct = measurements.find(
      (m) => m.way === 'direct' && m.operation === operation && m.concurrency === concurrency,
    );
    if (direct === undefined) return [];
    return [
      {
        operation,
        concurrency,
        callsPerSecond:
          direct.callsPerSecond > 0 ? plugin.callsPerSecond / direct.callsPerSecond : undefined,
        p50Ms: minus(plugin.p50Ms, direct.p50Ms),
        p99Ms: minus(plugin.p99Ms, direct.p99Ms),
      },
    ];
  });
}

/** One object on one line; what could not be measured is null. */
export function reportJson(report: Report): string {
  const { measurements, socket, direct, ...rest } = report;
  const whole = {
    ...rest,
    socket: socket ?? null,
    direct: direct ?? null,
    measurements: measurements.map(
      ({
        operation,
        concurrency,
        way,
        calls,
        callsPerSecond,
        p50Ms,
        p99Ms,
        errors,
        firstError,
      }) => ({
        operation,
        concurrency,
        way,
        calls,
        callsPerSecond: rounded(callsPerSecond),
        p50Ms: rounded(p50Ms),
        p99Ms: rounded(p99Ms),
        errors,
        firstError: firstError ?? null,
      }),
    ),
    differences: differencesOf(measurements).map((d) => ({
      ...d,
      callsPerSecond: rounded(d.callsPerSecond),
      p50Ms: rounded(d.p50Ms),
      p99Ms: rounded(d.p99Ms),
    })),
  };
  return `${JSON.stringify(whole)}\n`;
}

const HEAD = ['', 'at once', 'way', 'calls/s', 'p50 ms', 'p99 ms', 'errors'];

/** The table, then what went wrong and what to know. */
export function reportTable({ direct, measurements, notes, complete }: Report): string {
  const rows: string[][] = [HEAD];
  const differences = differencesOf(measurements);
  for (const m of measurements) {
    const way = m.way === 'plugin' ? 'through the plugin' : `${direct?.kind ?? 'provider'} alone`;
    const figures = [m.callsPerSecond.toFixed(0), fixed(m.p50Ms), fixed(m.p99Ms), `${m.errors}`];
    rows.push([m.operation, `${m.concurrency}`, way, ...figures]);
    const difference = differences.find(
      (d) => m.way === 'plugin' && d.operation === m.operation && d.concurrency === m.concurrency,
    );
    if (difference !== undefined) {
      const { callsPerSecond, p50Ms, p99Ms } = difference;
      const rate = callsPerSecond === undefined ? '-' : `x ${callsPerSecond.toFixed(2)}`;
      rows.push(['', '', 'difference', rate, signed(p50Ms), signed(p99Ms), '']);
    }
  }
  const failed = measurements.flatMap(({ operation, concurrency, way, firstError }) =>
    firstError === undefined ? [] : [`${operation} at ${concurrency}, ${way}: ${firstError}`],
  );
  const ended = complete ? [] : ['It was ended early: what is missing was not measured.'];
  const more = [...failed, ...notes, ...ended];
  return `${aligned(rows)}${more.length === 0 ? '' : `\n${more.join('\n')}\n`}`;
}

/** Words to the left, numbers to the right. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = HEAD.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const words = [0, 2];
  return rows
    .map((row) =>
      row
        .map((cell, i) =>
          words.includes(i) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

function minus(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a - b;
}

function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value * 1000) / 1000;
}

function fixed(value: number | undefined): string {
  return value === undefined ? '-' : value.toFixed(2);
}

function signed(value: number | undefined): string {
  return value === undefined ? '-' : `${value < 0 ? '' : '+'}${value.toFixed(2)}`;
}
