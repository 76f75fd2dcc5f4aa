/** YAML to plain data, with the place of each field kept for errors. */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
} from 'yaml';
import type { FieldPath } from './problem.ts';
import { explainYamlErrors, type ParserError, strangeBlank } from './yaml-slips.ts';

export type YamlProblem = {
  readonly line: number;
  readonly column: number;
  readonly message: string;
};
export type Position = { readonly line: number; readonly column: number };

export type ParsedYaml =
  | {
      readonly ok: true;
      readonly data: unknown;
      readonly positionOf: (path: FieldPath) => Position | undefined;
    }
  | { readonly ok: false; readonly problems: readonly YamlProblem[] };

/** Enough for anchors that a person writes, too few for a file that explodes. */
const MAX_ALIASES = 50;

/** Reads one document; never throws. */
export function parseYaml(text: string): ParsedYaml {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter,
    uniqueKeys: true,
    prettyErrors: false,
    stringKeys: true,
  });
  const refuse = (errors: readonly ParserError[]): ParsedYaml => ({
    ok: false,
    problems: explainYamlErrors(text, errors).map(({ offset, message }) => {
      const { line, col } = lineCounter.linePos(offset);
      return { line, column: col, message: `it is not YAML: ${message}` };
    }),
  });
  const errors = [...document.errors, ...document.warnings.filter(isTag)].map(
    ({ code, message, pos }) => ({ code, message, offset: pos[0] }),
  );
  if (errors.length > 0) return refuse(errors);
  if (strangeBlank(text) !== undefined) return refuse([]);
  const aliases = aliasesIn(document);
  if (aliases.length > 0) return refuse(aliases);
  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    return { ok: false, problems: [{ line: 1, column: 1, message: 'it has too many aliases' }] };
  }
  return { ok: true, data, positionOf: (path) => positionOf(document, lineCounter, path) };
}

/** A value that begins with ! is read as a tag, with a warning only. */
function isTag({ code }: { readonly code: string }): boolean {
  return code === 'TAG_RESOLVE_FAILED';
}

/** Aliases without their anchor, and anchors without a value: values that begin with * or &, and should be quoted. */
function aliasesIn(document: Document): readonly ParserError[] {
  const found: ParserError[] = [];
  const anchors = new Set<string>();
  const report = (offset = 0): void => {
    found.push({ code: 'BAD_ALIAS', message: '', offset });
  };
  visit(document, {
    Node(_, node) {
      if (isAlias(node)) {
        if (!anchors.has(node.source)) report(node.range?.[0]);
      } else if (node.anchor !== undefined) {
        anchors.add(node.anchor);
        if (isScalar(node) && node.value === null) report(node.range?.[0]);
      }
    },
  });
  return found;
}

/** Where the key of a field stands, or the nearest field around it that is there. */
function positionOf(document: Document, lines: LineCounter, path: FieldPath): Position | undefined {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0];
  for (const key of path) {
    if (isMap(node)) {
      const pair: Pair | undefined = node.items.find(
        (item) => isPair(item) && keyOf(item.key) === String(key),
      );
      if (pair === undefined) break;
      if (isNode(pair.key) && pair.key.range) offset = pair.key.range[0];
      node = isNode(pair.value) ? pair.value : undefined;
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(key)];
      if (!isNode(item)) break;
      node = item;
      offset = item.range?.[0] ?? offset;
    } else {
      break;
    }
  }
  if (offset === undefined) return undefined;
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

function keyOf(key: unknown): string {
  return typeof key === 'object' && key !== null && 'value' in key
    ? String(key.value)
    : String(key);
}
