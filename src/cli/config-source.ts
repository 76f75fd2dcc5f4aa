/** The file that the configuration comes from, read again and again. */
import { createHash } from 'node:crypto';
import type { Environment } from '../config/environment.ts';
import { type ConfigResult, readConfigFile } from '../config/load.ts';
import { readRegularFile } from '../system/read-file.ts';

export type ReadConfig = {
  /** The same for the same content. */
  readonly fingerprint: string;
  readonly result: ConfigResult;
};

/** Reads the configuration as it is now. */
export type ConfigSource = () => Promise<ReadConfig>;

const MOST_READS = 5;
/** More than a configuration may have, so that a change of a larger file is noticed too. */
const MOST_BYTES = 4 << 20;

/** Reads a file, and again where it was changed meanwhile, so that content and fingerprint agree. */
export function configFile(file: string, env: Environment): ConfigSource {
  return async () => {
    let before = await fingerprintOf(file);
    for (let reads = 1; ; reads += 1) {
      const result = await readConfigFile(file, env);
      const fingerprint = await fingerprintOf(file);
      if (fingerprint === before) return { fingerprint, result };
      before = fingerprint;
      if (reads === MOST_READS) return { fingerprint: '', result: unsteady(file) };
    }
  };
}

async function fingerprintOf(file: string): Promise<string> {
  try {
    return createHash('sha256')
      .update(await readRegularFile(file, MOST_BYTES))
      .digest('base64');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unreadable';
  }
}

function unsteady(file: string): ConfigResult {
  const message = 'it was changed each time that it was read';
  return {
    ok: false,
    problems: [{ file, line: undefined, column: undefined, field: '', message }],
  };
}
