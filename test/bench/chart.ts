/** Bars of calls a second, as an SVG that reads on light and dark pages. */
import type { Measured } from './calls.ts';

const WIDTH = 720;
const ROW = 26;
const LABEL = 230;
const COLOURS = ['#2f7ed8', '#c9853a', '#7a7a7a', '#5a9a5a'];

/** What 64 concurrent v2 calls come to, for each way, operation and plugin. */
export function chart(cells: readonly Measured[]): string {
  const shown = cells.filter(({ workers, api }) => workers === 64 && api === 'v2');
  const most = Math.max(1, ...shown.map(({ callsPerSecond }) => callsPerSecond));
  const names = [...new Set(shown.map(({ subject }) => subject))];
  const bars = shown.map((cell, i) => {
    const y = 34 + i * ROW;
    const length = Math.round(((WIDTH - LABEL - 80) * cell.callsPerSecond) / most);
    const colour = COLOURS[names.indexOf(cell.subject) % COLOURS.length];
    const label = `${cell.operation}, ${cell.delayMs} ms away: ${cell.subject}`;
    return `  <text x="${LABEL - 8}" y="${y + 14}" text-anchor="end">${escaped(label)}</text>
  <rect x="${LABEL}" y="${y}" width="${length}" height="${ROW - 8}" fill="${colour}"/>
  <text x="${LABEL + length + 6}" y="${y + 14}">${cell.callsPerSecond.toFixed(0)}</text>`;
  });
  const height = 44 + shown.length * ROW;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#7a7a7a" role="img" aria-label="calls a second at 64 concurrent calls">
  <text x="${LABEL}" y="20">v2 calls a second at 64 concurrent calls</text>
${bars.join('\n')}
</svg>
`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
