/** The commonest mistakes in YAML, each with a sentence of its own. No sentence repeats what stands in the file. */

/** An error as the parser reports it: its code, its text, and the offset where it was noticed. */
export type ParserError = {
  readonly code: string;
  readonly message: string;
  readonly offset: number;
};

export type Slip = { readonly offset: number; readonly message: string };

/** Blanks that look like a space and are none: text that was copied from a web page has them. */
const STRANGE_BLANK = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/;
const STRANGE_STRUCTURE = new RegExp(
  `^(?:[ ]*${STRANGE_BLANK.source}|[ ]*(?:- +)?[A-Za-z]+:[ ]*${STRANGE_BLANK.source})`,
  'm',
);
const NO_BLANK_AFTER_COLON = /^([ ]*(?:- +)?[A-Za-z]\w*:)[^\s:/]/;
const NO_BLANK_AFTER_DASH = /^([ ]*-)[A-Za-z]\w*:/;
const OPENING_QUOTE = /(?:^|: +|- +|[[{,] *)(["'])/g;

/**
 * What a person did, by the first error of the parser: what follows it is mostly its consequence.
 * Duplicate fields have no consequences, and come all.
 */
export function explainYamlErrors(text: string, errors: readonly ParserError[]): readonly Slip[] {
  const strange = strangeBlank(text);
  if (strange !== undefined) return [strange];
  const [first] = errors;
  if (first === undefined) return [];
  const duplicates = errors.filter(({ code }) => code === 'DUPLICATE_KEY');
  if (duplicates.length === errors.length)
    return duplicates.map(({ offset }) => ({
      offset,
      message: 'this field is there twice in one mapping: keep one of them',
    }));
  return [slipOf(text, first, errors)];
}

/** Undefined where every blank that gives the text its structure is an ordinary one. */
export function strangeBlank(text: string): Slip | undefined {
  const found = STRANGE_STRUCTURE.exec(text.replace(/^\ufeff/, ' '));
  if (found === null) return undefined;
  const offset = found.index + found[0].length - 1;
  const code = text.charCodeAt(offset).toString(16).toUpperCase().padStart(4, '0');
  return {
    offset,
    message: `the blank here is not an ordinary space but U+${code}, as in text copied from a web page: replace it`,
  };
}

function slipOf(text: string, error: ParserError, all: readonly ParserError[]): Slip {
  const { code, message: said, offset } = error;
  const at = (message: string, where = offset): Slip => ({ offset: where, message });
  const line = lineAt(text, offset);
  const noBlank = missingBlank(text, offset, NO_BLANK_AFTER_COLON);
  const noBlankAfterDash = missingBlank(text, offset, NO_BLANK_AFTER_DASH);
  if (/^ *\t/.test(line.text)) return at(TAB);
  switch (code) {
    case 'TAB_AS_INDENT':
      return at(TAB);
    case 'MULTIPLE_DOCS':
      return at('a second document begins here (---): a file holds one configuration');
    case 'BAD_DQ_ESCAPE':
      return at(
        'a backslash in double quotes begins an escape sequence: use single quotes, or write it twice',
      );
    case 'TAG_RESOLVE_FAILED':
      return at('a value that begins with ! must stand in quotes');
    case 'BAD_SCALAR_START':
      return at(
        `a value that begins with ${text[offset] ?? 'such a character'} must stand in quotes`,
      );
    case 'NON_STRING_KEY':
    case 'BLOCK_IN_FLOW':
      return line.text.includes('{{')
        ? at('the placeholder {{ ... }} of a template was not filled in')
        : at(NO_COMMA);
    case 'BAD_ALIAS':
      return at('a value that begins with * or & must stand in quotes');
    case 'MISSING_CHAR':
      if (/closing ["']/.test(said))
        return at('the quote that opens here is not closed', openQuote(text) ?? offset);
      if (/^Missing directives-end/.test(said))
        return at('a line that begins with % must stand in quotes', text.search(/^%/m));
      if (/indicator/.test(said))
        return at(
          'this line is indented differently from the list above it: entries of a list begin with "- " in one column',
        );
      if (/flow|end with/i.test(said)) return at(UNCLOSED_BRACKET);
      break;
    case 'BAD_INDENT':
      return /flow/i.test(said) ? at(UNCLOSED_BRACKET) : at(WRONG_INDENTATION);
    case 'UNEXPECTED_TOKEN':
      if (/Block scalar header/.test(said))
        return at(
          `a value that begins with ${text[offset - 1] === '>' ? '>' : '|'} must stand in quotes`,
        );
      if (/flow-(?:seq|map)-end/.test(said))
        return at('a closing bracket stands here without its opening one');
      if (/["'] *[^\s#,\]}]/.test(text.slice(offset - 1, offset + 1)))
        return at('text follows the closing quote: put all of the value into the quotes');
      if (/[[{]/.test(line.text.slice(0, offset - line.start))) return at(NO_COMMA);
      return at(secondStructure(text, line.start));
    default:
      break;
  }
  if (noBlankAfterDash !== undefined)
    return at('no space follows the dash: write "- entry"', noBlankAfterDash);
  if (noBlank !== undefined) return at('no space follows the colon: write "field: value"', noBlank);
  if (/^ *- /.test(line.text) || all.some(({ message }) => /block-seq-ind/.test(message)))
    return at(
      'an entry of a list ("- ") stands where a field must: see what the line above begins',
    );
  if (code === 'BLOCK_AS_IMPLICIT_KEY') {
    const next = all.find(({ code: other }) => other === 'MULTILINE_IMPLICIT_KEY');
    return next === undefined
      ? at('a value with a colon and a space in it must stand in quotes')
      : at(
          'the field on this line has a value, and the next line is indented deeper: align it, or remove the value',
        );
  }
  return at('this line is neither "field: value" nor "- entry": is a colon missing?');
}

const TAB = 'a tab indents this line: YAML allows spaces only, two for each level';
const NO_COMMA = 'a comma or a closing bracket is missing in a list [ ] or a mapping { }';
const UNCLOSED_BRACKET = 'a bracket [ or { that was opened before this line is not closed';
const WRONG_INDENTATION =
  'this line is not aligned with the lines above it: the fields of one mapping begin in one column';

/** The text has one structure, and this line begins another. */
function secondStructure(text: string, start: number): string {
  const first = /^(?!#|---|%)(?=.*\S)( *)(- )?/m.exec(text);
  const indentation = first?.[1]?.length ?? 0;
  if (first?.[2] !== undefined)
    return 'the file begins with a list ("- "), and a field follows: remove the dash above';
  return indentation > 0 && !/^ /.test(text.slice(start))
    ? WRONG_INDENTATION
    : 'this does not belong to what stands above it: the file must be a mapping, "field: value" a line';
}

/** The offset where a space is missing, on the line of the error or just before. */
function missingBlank(text: string, offset: number, pattern: RegExp): number | undefined {
  const { start } = lineAt(text, offset);
  const before = start === 0 ? undefined : lineAt(text, start - 1);
  for (const line of [lineAt(text, offset), before]) {
    const found = line === undefined ? null : pattern.exec(line.text);
    if (found !== null && line !== undefined) return line.start + (found[1]?.length ?? 0);
  }
  return undefined;
}

function openQuote(text: string): number | undefined {
  let start = 0;
  for (const line of text.split('\n')) {
    for (const { index, 0: opening, 1: quote = '"' } of line.matchAll(OPENING_QUOTE)) {
      const inside = index + opening.length;
      if (!line.includes(quote, inside)) return start + inside - 1;
    }
    start += line.length + 1;
  }
  return undefined;
}

function lineAt(text: string, offset: number): { readonly text: string; readonly start: number } {
  const start = offset === 0 ? 0 : text.lastIndexOf('\n', offset - 1) + 1;
  const end = text.indexOf('\n', start);
  return { text: text.slice(start, end === -1 ? undefined : end), start };
}
