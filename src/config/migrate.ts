/**
 * From the form of one apiVersion to that of the next, comments and order kept. Only what a table
 * says is done: a file whose version is not in it is refused, never guessed at.
 */
import { type Document, isMap, isScalar, parseDocument } from 'yaml';
import { fromPredecessor } from './predecessors.ts';
import { parseYaml } from './yaml.ts';

/** One version to the next. A new apiVersion is one more of these, and its name in `CURRENT`. */
export type MigrationStep = {
  readonly from: string;
  readonly to: string;
  /** Changes the fields; apiVersion is set for it. */
  readonly change: (document: Document) => void;
};

export type Migration =
  | {
      readonly ok: true;
      readonly from: string;
      readonly to: string;
      readonly text: string;
      /** Where it is of an earlier plugin: what a person has to do. */
      readonly byHand?: readonly string[];
    }
  | { readonly ok: false; readonly line?: number; readonly problem: string };

/** The apiVersion that this program runs. */
const CURRENT = 'trousseau.io/v1';
/** Oldest first; there has been one version so far. */
const STEPS: readonly MigrationStep[] = [];
const KIND = 'KMSPluginConfiguration';
const MAX_SHOWN = 64;

/**
 * The text in the form of the current apiVersion. One that has it already comes back as it is, byte
 * for byte; whether its fields are right is for `config check` to say. Pure.
 */
export function migrateConfig(
  text: string,
  steps: readonly MigrationStep[] = STEPS,
  current: string = CURRENT,
): Migration {
  const readable = parseYaml(text);
  const document: Document = parseDocument(text, { stringKeys: true });
  const from = readable.ok ? scalarOf(document, 'apiVersion') : undefined;
  const earlier = from?.startsWith('trousseau.io/') === true ? undefined : fromPredecessor(text);
  if (earlier !== undefined) {
    const { predecessor, byHand } = earlier;
    return { ok: true, from: predecessor, to: current, text: earlier.text, byHand };
  }
  if (!readable.ok) {
    const [first] = readable.problems;
    return { ok: false, problem: 'it is not YAML', ...(first && problemAt(first)) };
  }
  const kind = scalarOf(document, 'kind');
  if (from === undefined || kind === undefined) {
    return refuse(
      `it names no apiVersion and kind: begin it with "apiVersion: ${current}" and "kind: ${KIND}" if it is a configuration of Trousseau`,
    );
  }
  if (kind !== KIND) {
    return refuse(
      `it is of kind ${shown(kind)}, not ${KIND}: name the configuration of trousseau serve`,
    );
  }
  let version = from;
  while (version !== current) {
    const step = steps.find((one) => one.from === version);
    if (step === undefined) return refuse(unknownVersion(from, steps, current));
    step.change(document);
    document.set('apiVersion', step.to);
    version = step.to;
  }
  return { ok: true, from, to: current, text: from === current ? text : document.toString(PRINT) };
}

/** Long lines stay as long as they are. */
const PRINT = { lineWidth: 0 } as const;

function problemAt({ line, message }: { readonly line: number; readonly message: string }): {
  readonly line: number;
  readonly problem: string;
} {
  return { line, problem: message };
}

function refuse(problem: string): Migration {
  return { ok: false, problem };
}

function scalarOf(document: Document, field: string): string | undefined {
  if (!isMap(document.contents)) return undefined;
  const node = document.contents.get(field, true);
  return isScalar(node) && typeof node.value === 'string' ? node.value : undefined;
}

function unknownVersion(from: string, steps: readonly MigrationStep[], current: string): string {
  const known = [...steps.map((step) => step.from), current].join(', ');
  return `apiVersion ${shown(from)} is not known here (known: ${known}): if a newer Trousseau wrote it, migrate it with that one; if it is a slip, write the version that it is of`;
}

function shown(value: string): string {
  return JSON.stringify(value.slice(0, MAX_SHOWN));
}
