/** From the text of a file to a configuration that can run, or to everything that is wrong with it. */
import * as v from 'valibot';
import { reasonOf } from '../system/files.ts';
import { readRegularFile } from '../system/read-file.ts';
import {
  type Environment,
  environmentErrors,
  environmentWarnings,
  type ResolvedConfig,
  resolved,
  variableOf,
  withEnvironment,
} from './environment.ts';
import { explain, type Issue, misplacedLists } from './issues.ts';
import { isRecord } from './predecessors/converted.ts';
import { fromPredecessor, predecessorProblem } from './predecessors.ts';
import { type ConfigProblem, formatField } from './problem.ts';
import { checkRelations } from './relations.ts';
import { configSchema } from './schema.ts';
import { type Position, parseYaml } from './yaml.ts';

export type ConfigResult =
  | {
      readonly ok: true;
      readonly config: ResolvedConfig;
      readonly warnings: readonly ConfigProblem[];
      /** With the place in the file, for what is found later. */
      readonly problemOf: (issue: Issue) => ConfigProblem;
    }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const MAX_BYTES = 1 << 20;
/** What stands for a file in a problem of it. */
const ENVIRONMENT = 'environment';

/** Reads a configuration; never throws and never rejects. */
export async function readConfigFile(file: string, env: Environment): Promise<ConfigResult> {
  const text = await readText(file);
  return typeof text === 'string' ? loadConfig(text, file, env) : unreadable(file, text.problem);
}

/** Checks the text of a configuration; `file` is for the messages. Pure. */
export function loadConfig(text: string, file: string, env: Environment): ConfigResult {
  const yaml = parseYaml(text);
  const earlier = yaml.ok && hasHead(yaml.data) ? undefined : fromPredecessor(text);
  if (earlier !== undefined) return unreadable(file, predecessorProblem(file, earlier));
  if (!yaml.ok) {
    return {
      ok: false,
      problems: yaml.problems.map((problem) => ({ file, field: '', ...problem })),
    };
  }
  if (yaml.data === null || yaml.data === undefined) return unreadable(file, 'it is empty');
  const problemInFile = ({ path, message, shown = path }: Issue): ConfigProblem => {
    const position: Position | undefined = yaml.positionOf(path);
    return {
      file,
      line: position?.line,
      column: position?.column,
      field: formatField(shown),
      message,
    };
  };
  const lists = misplacedLists(yaml.data);
  if (lists.length > 0) return { ok: false, problems: lists.map(problemInFile) };
  const parsed = v.safeParse(configSchema, yaml.data);
  if (!parsed.success) {
    const foreign = parsed.issues.filter(isOfAnotherFile);
    const issues = foreign.length > 0 ? foreign : parsed.issues;
    return { ok: false, problems: issues.map((issue) => problemInFile(explain(issue))) };
  }
  const inEnvironment = environmentErrors(parsed.output, env);
  if (inEnvironment.length > 0) return unreadable(ENVIRONMENT, inEnvironment.join('; '));
  const config = withEnvironment(parsed.output, env);
  const problemOf = (issue: Issue): ConfigProblem => {
    const problem = problemInFile(issue);
    const variable = variableOf(issue.path, parsed.output, env);
    return variable === undefined
      ? problem
      : { ...problem, message: `${problem.message}; it comes from ${variable} of the environment` };
  };
  const findings = checkRelations(config);
  const errors = findings.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) return { ok: false, problems: errors.map(problemOf) };
  const warnings = [
    ...findings.map(problemOf),
    ...environmentWarnings(config, env).map((message) => ({
      file: ENVIRONMENT,
      line: undefined,
      column: undefined,
      field: '',
      message,
    })),
  ];
  return { ok: true, config: resolved(config), warnings, problemOf };
}

/** What begins as a configuration of this plugin is one, however wrong. */
function hasHead(data: unknown): boolean {
  return isRecord(data) && String(data['apiVersion']).startsWith('trousseau.io/');
}

/** A file of another kind has no field that belongs here, and to name each of them helps nobody. */
function isOfAnotherFile({ path, received }: v.BaseIssue<unknown>): boolean {
  const [field, ...deeper] = path ?? [];
  return (
    deeper.length === 0 &&
    (field?.key === 'apiVersion' || field?.key === 'kind') &&
    received !== 'undefined'
  );
}

/** A problem of the file as a whole. */
export function unreadable(file: string, message: string): ConfigResult {
  return {
    ok: false,
    problems: [{ file, line: undefined, column: undefined, field: '', message }],
  };
}

/** The text of a configuration file, or why there is none; never rejects. */
export async function readText(path: string): Promise<string | { readonly problem: string }> {
  try {
    return decodeText(await readRegularFile(path, MAX_BYTES));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    switch (code) {
      case 'ENOENT':
        return { problem: 'it does not exist' };
      case 'ENOTDIR':
        return { problem: 'it does not exist: a part of its path is not a directory' };
      case 'EACCES':
        return { problem: 'it cannot be read by this user' };
      case 'ENXIO':
        return { problem: 'it is not a regular file' };
      default:
        return { problem: code === undefined ? reasonOf(error) : `it cannot be read: ${code}` };
    }
  }
}

/** The text of what came through a pipe, up to the size that a file may have; never rejects. */
export async function readStream(
  input: AsyncIterable<Uint8Array>,
): Promise<string | { readonly problem: string }> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of input) {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) return { problem: `it is larger than ${MAX_BYTES} bytes` };
      chunks.push(chunk);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { problem: `it cannot be read: ${code ?? 'unknown error'}` };
  }
  return decodeText(Buffer.concat(chunks));
}

function decodeText(bytes: Uint8Array): string | { readonly problem: string } {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const utf16 =
      (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
    return { problem: utf16 ? 'it is UTF-16: save it as UTF-8' : 'it is not UTF-8 text' };
  }
}
