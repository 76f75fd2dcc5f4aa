/** What is wrong with the files that a configuration names, as far as they are not secrets. */
import { certificateProblem, readCertificates } from '../system/certificates.ts';
import { reasonOf } from '../system/files.ts';
import type { ResolvedConfig } from './environment.ts';
import { type ConfigProblem, formatField } from './problem.ts';

/** Reads them; `file` is that of the configuration, for the messages. Never rejects. */
export async function fileProblems(
  config: ResolvedConfig,
  file: string,
): Promise<readonly ConfigProblem[]> {
  const found = await Promise.all(
    config.providers.map(async (provider, i): Promise<readonly ConfigProblem[]> => {
      const caFile = 'vault' in provider ? provider.vault.tls.caFile : undefined;
      if (caFile === undefined) return [];
      const why = await authoritiesProblem(caFile);
      if (why === undefined) return [];
      const field = formatField(['providers', i, 'vault', 'tls', 'caFile']);
      return [{ file, line: undefined, column: undefined, field, message: `${caFile}: ${why}` }];
    }),
  );
  return found.flat();
}

async function authoritiesProblem(caFile: string): Promise<string | undefined> {
  try {
    return certificateProblem(await readCertificates(caFile));
  } catch (error) {
    return reasonOf(error);
  }
}
