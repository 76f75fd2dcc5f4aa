/**
 * What docs/configuration.md uses of Markdown, as man(7): headings, paragraphs, lists, code, and
 * tables as one entry a row. A test compares that document's tables with the schema, so the page is
 * as complete as they are.
 */
import { escapeText, inline, verbatim } from './roff.ts';

/** The body of a page; what stands before the first `##` becomes DESCRIPTION. */
export function markdownBody(markdown: string): string {
  const lines = markdown.split('\n');
  const out: string[] = ['.SH DESCRIPTION\n'];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? '';
    const end = endOfBlock(lines, at);
    const block = lines.slice(at, end);
    out.push(blockOf(line, block));
    at = end;
  }
  return out.filter((text) => text !== '').join('');
}

function blockOf(first: string, block: readonly string[]): string {
  if (first === '' || /^# |^<!--/.test(first)) return '';
  if (first.startsWith('## ')) return `.SH ${escapeText(first.slice(3).toUpperCase())}\n`;
  if (first.startsWith('### ')) return `.SS ${escapeText(first.slice(4))}\n`;
  if (first.startsWith('```')) return verbatim(block.slice(1, -1));
  if (first.startsWith('|')) return block.slice(2).map(row).join('');
  if (first.startsWith('- ')) return items(block);
  return `.PP\n${inline(block.join('\n'))}\n`;
}

/** The line after the block that starts at `at`. */
function endOfBlock(lines: readonly string[], at: number): number {
  const first = lines[at] ?? '';
  const next = (from: number, ends: (line: string) => boolean): number => {
    const found = lines.findIndex((line, index) => index >= from && ends(line));
    return found === -1 ? lines.length : found;
  };
  if (first.startsWith('```')) return next(at + 1, (line) => line.startsWith('```')) + 1;
  if (first.startsWith('|')) return next(at, (line) => !line.startsWith('|'));
  if (first === '' || first.startsWith('#') || first.startsWith('<!--')) return at + 1;
  return next(at + 1, (line) => line === '' || /^(#|```|\|)/.test(line));
}

/** `| field | type | default | meaning |`, or any other table: the first cell, then the rest. */
function row(line: string): string {
  const cells = line
    .slice(1, line.lastIndexOf('|'))
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim());
  const [term = '', ...rest] = cells;
  if (rest.length < 3) return `.TP\n${inline(term)}\n${inline(rest.join('; '))}\n`;
  const [type = '', fallback = '', ...meaning] = rest;
  const kind = fallback === '-' ? type : `${type}; ${says(fallback)}`;
  return `.TP\n${inline(term)} (${inline(kind)})\n${inline(meaning.join(' '))}\n`;
}

function says(fallback: string): string {
  return fallback === 'required' ? fallback : `default ${fallback}`;
}

function items(block: readonly string[]): string {
  return block
    .join('\n')
    .split(/^- /m)
    .filter((item) => item !== '')
    .map((item) => `.IP \\(bu 2\n${inline(item.trim().replace(/\n\s+/g, '\n'))}\n`)
    .join('');
}
