/** What is wrong with a configuration, and where. */

export type ConfigProblem = {
  readonly file: string;
  /** From 1; undefined where it is about the file as a whole. */
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** e.g. `providers[0].vault.auth.appRole.secretIDFile`; empty for the file as a whole. */
  readonly field: string;
  /** What was found and what is allowed, as one sentence. Never holds what could be a secret. */
  readonly message: string;
};

/** A path of keys and indexes into the file. */
export type FieldPath = readonly (string | number)[];

/** `['providers', 0, 'vault']` as `providers[0].vault`. */
export function formatField(path: FieldPath): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? key : `${text}.${key}`;
  }, '');
}

/** One line for each problem, as compilers write them: `FILE:LINE:COLUMN: FIELD: MESSAGE`. */
export function formatProblems(problems: readonly ConfigProblem[]): string {
  return problems
    .map(({ file, line, column, field, message }) => {
      const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
      return `${place}: ${field === '' ? '' : `${field}: `}${message}\n`;
    })
    .join('');
}
