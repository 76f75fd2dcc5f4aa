/** The result of a run, as lines of text. Pure. */
import type { Violation } from './calls.ts';
import type { Report } from './checker.ts';

const SHOWN = 12;

/** Figures first, then each kind of violation with how often it was seen and its first example. */
export function linesOf({ violations, numbers }: Report): readonly string[] {
  const kinds = [...Map.groupBy(violations, kindOf).values()];
  return [
    '',
    `calls        ${numbers.calls}, of which ${numbers.failed} failed; ${numbers.objects} objects written, ${numbers.damagedReads} reads of damaged objects`,
    `faults       ${numbers.faults}`,
    `recovery     ${numbers.recoveryMs} ms after the last fault; at most ${Math.round(numbers.longestRecoveryMs)} ms after any`,
    `excused      ${(100 - numbers.strictShare * 100).toFixed(0)} % of the plugins' time`,
    `violations   ${violations.length}, of ${kinds.length} kinds`,
    ...kinds.slice(0, SHOWN).flatMap(([first, ...others]) => {
      if (first === undefined) return [];
      const times = others.length === 0 ? '' : `, and ${others.length} like it`;
      return [`FAILED at ${Math.round(first.t)} ms${times}: ${first.sentence}`];
    }),
    ...(kinds.length > SHOWN ? [`and ${kinds.length - SHOWN} more kinds`] : []),
  ];
}

/** Sentences that differ only in numbers are of one kind, whatever was called. */
function kindOf({ sentence }: Violation): string {
  return sentence
    .replace(/, client .* ms\) ended with/, ' ended with')
    .replace(/object-\d+/g, 'object')
    .replace(/\d+/g, 'N');
}
