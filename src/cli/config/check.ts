/** `trousseau config check`: what would run, or everything that is wrong. */
import { accountOf, checkFiles } from '../../config/files.ts';
import { type ConfigResult, loadConfig, readText, unreadable } from '../../config/load.ts';
import { printable, printConfig } from '../../config/print.ts';
import { type ConfigProblem, formatProblems } from '../../config/problem.ts';
import { type Account, unreadableFor } from '../../config/service-user.ts';
import { EXIT, type ExitCode, type Invocation } from '../command.ts';

/** What stands for standard input, as with other programs. */
const STDIN = '-';
/** As the units of the packages run it. */
const SERVICE_USER = 'trousseau';

export async function checkConfig(file: string, invocation: Invocation): Promise<ExitCode> {
  const { options, out, err } = invocation;
  const loaded = await load(file, invocation);
  const account = await accountToCheck(options['user']);
  if (account === 'unknown') {
    err(`user ${options['user']} is not in /etc/passwd\n`);
    return EXIT.usage;
  }
  const result = options['text-only'] === true ? loaded : await withFiles(loaded, file, account);
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

/** root, who would read everything, asks for the user of the service; everybody else for himself. */
async function accountToCheck(named: unknown): Promise<Account | 'unknown' | undefined> {
  if (typeof named === 'string') return (await accountOf(named)) ?? 'unknown';
  return process.getuid?.() === 0 ? await accountOf(SERVICE_USER) : undefined;
}

/** Adds what is wrong with the files that the configuration names, and with the rights of its own file. */
async function withFiles(
  result: ConfigResult,
  file: string,
  account: Account | undefined,
): Promise<ConfigResult> {
  if (!result.ok) return result;
  const findings = await checkFiles(result.config, account);
  const why =
    account === undefined || file === STDIN ? undefined : await unreadableFor(account, file);
  const own: readonly ConfigProblem[] =
    why === undefined
      ? []
      : [{ file, line: undefined, column: undefined, field: '', message: why }];
  const of = (severity: 'error' | 'warning'): readonly ConfigProblem[] =>
    findings.filter((finding) => finding.severity === severity).map(result.problemOf);
  const errors = of('error');
  return errors.length > 0
    ? { ok: false, problems: errors }
    : { ...result, warnings: [...result.warnings, ...own, ...of('warning')] };
}
