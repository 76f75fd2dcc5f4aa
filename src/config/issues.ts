/** valibot's issues as sentences for people: what was found, and what is allowed. */
import type * as v from 'valibot';
import { nearest } from './nearest.ts';
import type { FieldPath } from './problem.ts';
import { configSchema } from './schema.ts';

export type Issue = { readonly path: FieldPath; readonly message: string };

/** Fields whose values are shown in errors; every other one might hold a secret in the wrong place. */
const SHOWN: ReadonlySet<string> = new Set([
  ...['apiVersion', 'kind', 'level', 'format', 'mode', 'apis', 'kvVersion'],
  ...['watchInterval', 'outageGrace', 'requestTimeout', 'secretIDWrapped', 'allowPlainHTTP'],
  ...['hedge', 'maxEntries', 'maxAge'],
]);
const MAX_SHOWN = 40;
/** Tokens and keys have long runs without a break; what is right in these fields has none. */
const LIKE_A_SECRET = /[A-Za-z0-9+_-]{16,}/;

/** What an issue means. */
export function explain(issue: v.BaseIssue<unknown>): Issue {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const last = path.at(-1);
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    return { path, message: unknownField(String(last), knownFields(path.slice(0, -1))) };
  }
  if (issue.received === 'undefined') return { path, message: 'this field is missing' };
  const field = path.findLast((key) => typeof key === 'string');
  return {
    path,
    message: `${demand(issue)}; found ${found(field, issue.input)}${hint(field, issue.input)}`,
  };
}

function unknownField(name: string, known: readonly string[]): string {
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
      return 'must be a list';
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
    return typeof input === 'string' ? 'some other text' : `a ${typeof input}`;
  const text = JSON.stringify(input) ?? String(input);
  if (text.length > MAX_SHOWN) return 'something much longer';
  return LIKE_A_SECRET.test(text) ? 'some other text' : text;
}

/** For what YAML makes of values that look right to people. */
function hint(field: string | undefined, input: unknown): string {
  if (field === 'mode' && typeof input === 'number') return ' (quote it: "0600")';
  if (
    typeof input === 'number' &&
    field !== undefined &&
    /Interval|Grace|Timeout|maxAge/.test(field)
  )
    return ' (write the unit too: 30s)';
  if (typeof input === 'string' && field?.endsWith('File'))
    return ' (name a file; the secret itself never stands here)';
  return '';
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
      return [{ path, message: 'must be a mapping of fields; found a list' }];
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
