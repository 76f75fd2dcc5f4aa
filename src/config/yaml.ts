/** YAML to plain data, with the place of each field kept for errors. */
import {
  type Document,
  isMap,
  isNode,
  isPair,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
} from 'yaml';
import type { FieldPath } from './problem.ts';

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
  if (document.errors.length > 0) {
    const problems = document.errors.map(({ code, pos }) => {
      const { line, col } = lineCounter.linePos(pos[0]);
      // yaml's own messages quote the source, which may hold a secret; its codes do not.
      return { line, column: col, message: `it is not YAML: ${describeCode(code)}` };
    });
    return { ok: false, problems };
  }
  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    return { ok: false, problems: [{ line: 1, column: 1, message: 'it has too many aliases' }] };
  }
  return { ok: true, data, positionOf: (path) => positionOf(document, lineCounter, path) };
}

function describeCode(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ');
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
