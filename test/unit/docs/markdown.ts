/** What the documents' tests read out of Markdown: fenced blocks, links and the anchors of headings. */

/** A fenced block, without its indentation, and the comment `<!-- fragment: NAME -->` right above it. */
export type Block = {
  readonly language: string;
  readonly text: string;
  /** From 1, of the fence. */
  readonly line: number;
  readonly fragment: string | undefined;
};

/** The fenced blocks in their order. */
export function blocksOf(markdown: string): readonly Block[] {
  const lines = markdown.split('\n');
  const blocks: Block[] = [];
  for (let i = 0; i < lines.length; i += 1) {
    const [, indentation = '', language = ''] = /^( *)```(\w*)/.exec(lines[i] ?? '') ?? [];
    if (!(lines[i] ?? '').trimStart().startsWith('```')) continue;
    const end = lines.findIndex((line, at) => at > i && line.trim() === '```');
    if (end === -1) throw new Error(`line ${i + 1}: the block has no end`);
    const text = lines
      .slice(i + 1, end)
      .map((line) => (line.startsWith(indentation) ? line.slice(indentation.length) : line))
      .join('\n');
    const fragment = /^ *<!-- fragment: (\S+) -->$/.exec(lines[i - 1] ?? '')?.[1];
    blocks.push({ language, text, line: i + 1, fragment });
    i = end;
  }
  return blocks;
}

/** The text outside fenced blocks, on the same lines as before. */
export function proseOf(markdown: string): string {
  const lines = markdown.split('\n');
  let fenced = false;
  return lines
    .map((line) => {
      const fence = line.trimStart().startsWith('```');
      if (fence) fenced = !fenced;
      return fence || fenced ? '' : line;
    })
    .join('\n');
}

/** The targets of `[text](target)`, with what leads elsewhere left out. */
export function relativeLinksOf(markdown: string): readonly string[] {
  const prose = proseOf(markdown).replace(/`[^`\n]*`/g, 'code');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z][a-z+.-]*:/.test(target));
}

/** The anchors that GitHub makes of headings: a repeated one gets a number. */
export function anchorsOf(markdown: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of proseOf(markdown).matchAll(/^#{1,6} +(.+)$/gm)) {
    const slug = heading
      .trim()
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again += 1) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** The cells of the rows of tables whose header has these columns, in this order; backslash-pipe not known. */
export function rowsOf(
  markdown: string,
  header: readonly string[],
): readonly (readonly string[])[] {
  const rows: (readonly string[])[] = [];
  let inside = false;
  for (const line of proseOf(markdown).split('\n')) {
    if (!line.startsWith('|')) {
      inside = false;
      continue;
    }
    const cells = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    if (inside && !/^-+$/.test(cells[0] ?? '')) rows.push(cells);
    if (cells.join('|') === header.join('|')) inside = true;
  }
  return rows;
}
