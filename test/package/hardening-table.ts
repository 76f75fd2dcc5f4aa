/** The attempts that docs/hardening.md tells of. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Outcome } from './attempts.ts';
import { ROOT } from './executable.ts';

/** By the name of the attempt: what the table says was seen inside the sandbox, and outside. */
export function hardeningTable(): ReadonlyMap<string, Outcome> {
  const text = readFileSync(join(ROOT, 'docs/hardening.md'), 'utf8');
  const rows = /^\| tried \|.*\n\|[-|]*\|\n((?:\|.*\n)*)/m.exec(text)?.[1] ?? '';
  return new Map(
    rows
      .trimEnd()
      .split('\n')
      .flatMap((row) => {
        const [, tried = '', inside = '', outside = ''] = row.split('|').map(plain);
        return attempts(tried).map((name) => [name, { inside, outside }] as const);
      }),
  );
}

/** Without marks, and without what a reader is told besides. */
function plain(cell: string): string {
  return cell
    .replaceAll('`', '')
    .replace(/\(.*?\)/g, '')
    .trim();
}

/** One row tells of several folders. */
function attempts(tried: string): readonly string[] {
  const [, what, folders] = /^(run what it wrote to) (.*)$/.exec(tried) ?? [];
  if (what === undefined || folders === undefined) return [tried];
  return folders.split(/, | or /).map((folder) => `${what} ${folder}`);
}
