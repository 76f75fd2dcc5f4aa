/** valibot's issues as sentences for people: what was found, and what is allowed. */
import type * as v from 'valibot';
import { mistakeIn } from './mistakes.ts';
import { nearest } from './nearest.ts';
import type { FieldPath } from './problem.ts';
import { configSchema } from './schema.ts';

export type Issue = {
  readonly path: FieldPath;
  readonly message: string;
  /** The path as it may be shown, where the last part of `path` may be a value by mistake. */
  readonly shown?: FieldPath;
};

/** Fields whose values are shown in errors; every other one might hold a secret in the wrong place. */
const SHOWN: ReadonlySet<string> = new Set([
  ...['apiVersion', 'kind', 'level', 'format', 'mode', 'apis', 'kvVersion'],
  ...['watchInterval', 'outageGrace', 'requestTimeout', 'secretIDWrapped', 'allowPlainHTTP'],
  ...['hedge', 'maxEntries', 'maxAge'],
]);
/** What may be shown of a name that is not known: all fields have letters alone, and values by mistake rarely do. */
const FIELD_NAME = /^[A-Za-z]{1,40}$/;
const MAX_SHOWN = 40;
const UNSHOWN = 'text';
/** Tokens and keys have long runs without a break; what is right in these fields has none. */
const LIKE_A_SECRET = /[A-Za-z0-9+_-]{16,}/;

/** What an issue means. */
export function explain(issue: v.BaseIssue<unknown>): Issue {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const last = path.at(-1);
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    const [name, parent] = [String(last), path.slice(0, -1)];
    const message = unknownField(name, knownFields(parent));
    return FIELD_NAME.test(name) ? { path, message } : { path, message, shown: parent };
  }
  if (issue.received === 'undefined') return { path, message: 'this field is missing' };
  const field = path.findLast((key) => typeof key === 'string');
  const what = found(field, issue.input);
  const unsaid = what === UNSHOWN && (issue.kind === 'validation' || isTextOf(issue));
  const why = issue.type === 'array' ? undefined : mistakeIn(field, issue.input);
  return {
    path,
    message: `${demand(issue)}${unsaid ? '' : `; found ${what}`}${why === undefined ? '' : `: ${why}`}`,
  };
}

/** A text in the place of a list or a mapping is a fact that helps; a wrong text says nothing unless it is shown. */
function isTextOf({ type }: v.BaseIssue<unknown>): boolean {
  return type === 'literal' || type === 'picklist' || type === 'string';
}

function unknownField(name: string, known: readonly string[]): string {
  if (/^[A-Za-z]+:./.test(name)) return 'no space follows the colon: write "field: value"';
  if (/^-./.test(name)) return 'no space follows the dash: write "- entry"';
  if (!FIELD_NAME.test(name))
    return `there is no such field: is a colon missing? Known here: ${known.join(', ')}`;
  const near = nearest(name, known);
  return near === undefined
    ? `there is no such field; known here: ${known.join(', ')}`
    : `there is no such field; did you mean ${near}?`;
}

function demand({ type, expected, message, kind }: v.BaseIssue<unknown>): string {
  if (kind === 'validation') return message;
  switch (type) {
    case 'strict_object':
      return 'must be a mapping of fields';
    case 'array':
      return 'must be a list, as [ENTRY] or with a dash before each entry';
    case 'string':
      return 'must be text';
    case 'boolean':
      return 'must be true or false';
    default:
      return `must be ${String(expected)
        .replaceAll('"', '')
        .replace(/^\(|\)$/g, '')
        .replaceAll(' | ', ' or ')}`;
  }
}

function found(field: string | undefined, input: unknown): string {
  if (input === null) return 'nothing';
  if (Array.isArray(input)) return 'a list';
  if (typeof input === 'object') return 'a mapping';
  if (field === undefined || !SHOWN.has(field))
    return typeof input === 'string' ? UNSHOWN : `a ${typeof input}`;
  const text = JSON.stringify(input) ?? String(input);
  if (text.length > MAX_SHOWN) return 'something much longer';
  return LIKE_A_SECRET.test(text) ? UNSHOWN : text;
}

/** Lists that stand where a mapping must: valibot takes a list for an object without fields. */
export function misplacedLists(
  data: unknown,
  path: FieldPath = [],
  schema?: SchemaNode,
): readonly Issue[] {
  const node = bare(schema ?? (configSchema as unknown as SchemaNode));
  if (node?.entries !== undefined) {
    if (Array.isArray(data))
      return [{ path, message: 'must be a mapping of fields; found a list: leave out the dash' }];
    if (typeof data !== 'object' || data === null) return [];
    return Object.entries(node.entries).flatMap(([key, entry]) =>
      misplacedLists((data as Readonly<Record<string, unknown>>)[key], [...path, key], entry),
    );
  }
  const { item } = node ?? {};
  if (item === undefined || !Array.isArray(data)) return [];
  return data.flatMap((value, i) => misplacedLists(value, [...path, i], item));
}

type SchemaNode = {
  readonly entries?: Readonly<Record<string, SchemaNode>>;
  readonly wrapped?: SchemaNode;
  readonly item?: SchemaNode;
  readonly pipe?: readonly SchemaNode[];
};

/** The fields of the mapping at a path, out of the schema itself. */
function knownFields(path: FieldPath): readonly string[] {
  let node: SchemaNode | undefined = configSchema as unknown as SchemaNode;
  for (const key of path) {
    node = bare(node);
    node = typeof key === 'number' ? node?.item : node?.entries?.[key];
  }
  return Object.keys(bare(node)?.entries ?? {});
}

/** The schema inside optional() and pipe(). */
function bare(node: SchemaNode | undefined): SchemaNode | undefined {
  let inner = node;
  while (inner !== undefined && inner.entries === undefined && inner.item === undefined) {
    const next: SchemaNode | undefined = inner.wrapped ?? inner.pipe?.[0];
    if (next === undefined || next === inner) break;
    inner = next;
  }
  return inner;
}
