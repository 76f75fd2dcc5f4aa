/** The executables as they are shipped, and one of them serving with a keyring of its own. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Arch } from '../../scripts/binary/runtime.ts';
import { createKmsClient, type KmsClient } from '../../src/kms/client.ts';
import { writeConfig } from '../daemon/program.ts';
import { environment, type RunningProcess, startServer } from '../servers/process.ts';

const START_MS = 60_000; // an emulated processor needs some seconds

export const ROOT = join(import.meta.dirname, '../..');

/** Where `make binary` leaves it. */
export function executable(arch: Arch): string {
  const path = join(ROOT, `dist/bin/trousseau-linux-${arch}`);
  if (!existsSync(path)) throw new Error(`there is no ${path}: run make binary`);
  return path;
}

export type Serving = AsyncDisposable & {
  readonly client: KmsClient;
  readonly process: RunningProcess;
};

/** Starts `command serve` in the folder; resolves when its Status is good. */
export async function serveLocally(
  dir: string,
  [program = '', ...first]: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Serving> {
  const keyringFile = join(dir, 'keyring.json');
  execFileSync(program, [...first, 'keyring', 'init', keyringFile], { env: environment(env) });
  const config = writeConfig(dir, { providers: [{ name: 'here', local: { keyringFile } }] });
  const client = createKmsClient(join(dir, 'kms.sock'), START_MS);
  const args = [...first, 'serve', '--config', config];
  const running = await startServer(
    { program, args, env, logFile: join(dir, 'log') },
    START_MS,
    async () => (await client.v2.status()).healthz === 'ok',
  ).catch((error: unknown) => {
    client.close();
    throw error;
  });
  return {
    client,
    process: running,
    async [Symbol.asyncDispose]() {
      client.close();
      await running.stop();
    },
  };
}
