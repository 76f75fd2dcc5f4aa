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
  withEnvironment,
} from './environment.ts';
import { explain, type Issue, misplacedLists } from './issues.ts';
import { type ConfigProblem, formatField } from './problem.ts';
import { checkRelations } from './relations.ts';
import { configSchema } from './schema.ts';
import { type Position, parseYaml } from './yaml.ts';

export type ConfigResult =
  | {
      readonly ok: true;
      readonly config: ResolvedConfig;
      readonly warnings: readonly ConfigProblem[];
    }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const MAX_BYTES = 1 << 20;

/** Reads a configuration; never throws and never rejects. */
export async function readConfigFile(file: string, env: Environment): Promise<ConfigResult> {
  const text = await readText(file);
  return typeof text === 'string' ? loadConfig(text, file, env) : wholeFile(file, text.problem);
}

/** Checks the text of a configuration; `file` is for the messages. Pure. */
export function loadConfig(text: string, file: string, env: Environment): ConfigResult {
  const yaml = parseYaml(text);
  if (!yaml.ok) {
    return {
      ok: false,
      problems: yaml.problems.map((problem) => ({ file, field: '', ...problem })),
    };
  }
  if (yaml.data === null || yaml.data === undefined) return wholeFile(file, 'it is empty');
  const problemOf = ({ path, message }: Issue): ConfigProblem => {
    const position: Position | undefined = yaml.positionOf(path);
    return {
      file,
      line: position?.line,
      column: position?.column,
      field: formatField(path),
      message,
    };
  };
  const lists = misplacedLists(yaml.data);
  if (lists.length > 0) return { ok: false, problems: lists.map(problemOf) };
  const parsed = v.safeParse(configSchema, yaml.data);
  if (!parsed.success)
    return { ok: false, problems: parsed.issues.map((issue) => problemOf(explain(issue))) };
  const inEnvironment = environmentErrors(parsed.output, env);
  if (inEnvironment.length > 0) return wholeFile('environment', inEnvironment.join('; '));
  const config = withEnvironment(parsed.output, env);
  const findings = checkRelations(config);
  const errors = findings.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) return { ok: false, problems: errors.map(problemOf) };
  const warnings = [
    ...findings.map(problemOf),
    ...environmentWarnings(config, env).map((message) => ({
      file,
      line: undefined,
      column: undefined,
      field: '',
      message,
    })),
  ];
  return { ok: true, config: resolved(config), warnings };
}

function wholeFile(file: string, message: string): ConfigResult {
  return {
    ok: false,
    problems: [{ file, line: undefined, column: undefined, field: '', message }],
  };
}

/** The text of a configuration file, or why there is none; never rejects. */
export async function readText(path: string): Promise<string | { readonly problem: string }> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readRegularFile(path, MAX_BYTES));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    switch (code) {
      case 'ENOENT':
        return { problem: 'it does not exist' };
      case 'EACCES':
        return { problem: 'it cannot be read by this user' };
      case 'ERR_ENCODING_INVALID_ENCODED_DATA':
        return { problem: 'it is not UTF-8 text' };
      default:
        return { problem: code === undefined ? reasonOf(error) : `it cannot be read: ${code}` };
    }
  }
}
