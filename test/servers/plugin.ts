/** The shipped daemon, `dist/trousseau serve`, as the tests start it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createKmsClient, type KmsClient } from '../../src/kms/client.ts';
import { type RunningProcess, startServer } from './process.ts';
import { waitUntil } from './wait-until.ts';

export const PROGRAM = join(import.meta.dirname, '../../dist/trousseau');
const CONFIG = 'config.yaml';
const START_MS = 10_000;
const READY_MS = 20_000;

export type PluginOptions = {
  /** The test's own folder, for configuration, sockets and log; one for each plugin. */
  readonly dir: string;
  /** `providers` and whatever else is not about sockets and logs. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
};

export type Plugin = AsyncDisposable & {
  readonly socket: string;
  readonly client: KmsClient;
  readonly process: RunningProcess;
  /** Everything that it has logged, at debug, a line each. */
  log(): readonly PluginLine[];
  /** Resolves when Status is ok; rejects with its last answer. */
  ready(withinMs?: number): Promise<void>;
  stop(): Promise<void>;
};

export type PluginLine = {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
};

/** Starts it; resolves as soon as the socket answers, whatever the answer is. */
export async function startPlugin({ dir, config, env }: PluginOptions): Promise<Plugin> {
  const socket = join(dir, 'kms.sock');
  const whole = {
    apiVersion: 'trousseau.io/v1',
    kind: 'KMSPluginConfiguration',
    listen: { socket },
    admin: { socket: join(dir, 'admin.sock') },
    log: { level: 'debug', format: 'json' },
    ...config,
  };
  writeFileSync(join(dir, CONFIG), JSON.stringify(whole, undefined, 2)); // JSON is YAML
  return await startAgain(dir, env);
}

/** Starts it with the configuration that is in its folder. */
export async function startAgain(dir: string, env?: PluginOptions['env']): Promise<Plugin> {
  const socket = join(dir, 'kms.sock');
  const client = createKmsClient(socket);
  const running = await startServer(
    {
      program: PROGRAM,
      args: ['serve', '--config', join(dir, CONFIG)],
      logFile: join(dir, 'plugin.log'),
      ...(env === undefined ? {} : { env }),
    },
    START_MS,
    () => client.v1.version().then(() => true),
  );
  const stop = async (): Promise<void> => {
    client.close();
    await running.stop();
  };
  return {
    socket,
    client,
    process: running,
    log: () => readFileSync(running.logFile, 'utf8').split('\n').flatMap(parsed),
    ready: (withinMs = READY_MS) => waitUntil('a good Status', withinMs, () => isReady(client)),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function isReady(client: KmsClient): Promise<boolean> {
  const { healthz } = await client.v2.status();
  if (healthz !== 'ok') throw new Error(healthz);
  return true;
}

function parsed(line: string): PluginLine[] {
  return line.startsWith('{') ? [JSON.parse(line) as PluginLine] : [];
}
