/** `trousseau config check`: what would run, or everything that is wrong. */
import { checkFiles } from '../../config/files.ts';
import { type ConfigResult, loadConfig, readText, unreadable } from '../../config/load.ts';
import { printable, printConfig } from '../../config/print.ts';
import { type ConfigProblem, formatProblems } from '../../config/problem.ts';
import { EXIT, type ExitCode, type Invocation } from '../command.ts';

/** What stands for standard input, as with other programs. */
const STDIN = '-';

export async function checkConfig(file: string, invocation: Invocation): Promise<ExitCode> {
  const { options, out, err } = invocation;
  const result = await withFiles(await load(file, invocation), options['text-only'] === true);
  const problems = result.ok ? result.warnings : result.problems;
  if (options['output'] === 'json') {
    const config = result.ok ? { config: printable(result.config) } : {};
    out(`${JSON.stringify({ ok: result.ok, problems, ...config })}\n`);
  } else {
    err(formatProblems(problems));
    if (result.ok) out(printConfig(result.config));
  }
  return result.ok ? EXIT.ok : EXIT.usage;
}

async function load(file: string, { env, input }: Invocation): Promise<ConfigResult> {
  const text = await (file === STDIN ? input() : readText(file));
  const name = file === STDIN ? 'standard input' : file;
  return typeof text === 'string' ? loadConfig(text, name, env) : unreadable(name, text.problem);
}

/** Adds what is wrong with the files that the configuration names, unless only its text is of interest. */
async function withFiles(result: ConfigResult, textOnly: boolean): Promise<ConfigResult> {
  if (!result.ok || textOnly) return result;
  const findings = await checkFiles(result.config);
  const of = (severity: 'error' | 'warning'): readonly ConfigProblem[] =>
    findings.filter((finding) => finding.severity === severity).map(result.problemOf);
  const errors = of('error');
  return errors.length > 0
    ? { ok: false, problems: errors }
    : { ...result, warnings: [...result.warnings, ...of('warning')] };
}
