/** The man(7) language: text that it takes literally, and the Markdown of our documents in it. */

/** Where a page stands: its name, section and the line under NAME. */
export type PageTitle = {
  readonly name: string;
  readonly section: 5 | 8;
  readonly summary: string;
  /** Of the commit, in seconds: the same sources give the same page. */
  readonly epoch: number;
  readonly version: string;
};

/** The head of a page, up to and with NAME. */
export function pageHead({ name, section, summary, epoch, version }: PageTitle): string {
  const date = new Date(epoch * 1000).toISOString().slice(0, 10);
  return `.TH ${name.toUpperCase()} ${section} ${date} "Trousseau ${version}" Trousseau
.SH NAME
${escapeText(name)} \\- ${escapeText(summary)}
`;
}

/** Text as it is: no escapes, no hyphens that become dashes, no requests at the start of a line. */
export function escapeText(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replace(/^\./gm, '\\&.');
}

/** Lines that stay lines. */
export function verbatim(lines: readonly string[]): string {
  return `.PP\n.in +4n\n.nf\n${lines.map(escapeText).map(emptyAsSpace).join('\n')}\n.fi\n.in\n`;
}

/** Code, strong words and links of one paragraph; a link keeps its text alone. */
export function inline(markdown: string): string {
  return markdown
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .split(/(`[^`]*`|\*\*[^*]*\*\*)/)
    .map((part) => {
      if (part.startsWith('`')) return `\\fB${escapeText(part.slice(1, -1))}\\fR`;
      if (part.startsWith('**')) return `\\fI${escapeText(part.slice(2, -2))}\\fR`;
      return escapeText(part);
    })
    .join('')
    .replace(/^\./gm, '\\&.');
}

/** A page as it is written: mandoc warns of a paragraph that starts right after its heading. */
export function page(...parts: readonly string[]): string {
  return parts.join('').replace(/^(\.S[HS] .*\n)\.PP\n/gm, '$1');
}

/** A line that is empty would be a paragraph of its own, with a warning. */
function emptyAsSpace(line: string): string {
  return line === '' ? '\\&' : line;
}
