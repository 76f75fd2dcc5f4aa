/** `trousseau config check`: what would run, or everything that is wrong. */
import { fileProblems } from '../../config/files.ts';
import { readConfigFile } from '../../config/load.ts';
import { printable, printConfig } from '../../config/print.ts';
import { formatProblems } from '../../config/problem.ts';
import { EXIT, type ExitCode, type Invocation } from '../command.ts';

export async function checkConfig(
  file: string,
  { options, out, err, env }: Invocation,
): Promise<ExitCode> {
  const read = await readConfigFile(file, env);
  const ofFiles = read.ok ? await fileProblems(read.config, file) : [];
  const result = ofFiles.length === 0 ? read : { ok: false as const, problems: ofFiles };
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
