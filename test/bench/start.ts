/** From exec to the first good v2 Status, with the local provider: the shipped form, over and over. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createKmsClient } from '../../src/kms/client.ts';
import { anonymousMiB, TROUSSEAU } from './subject.ts';

const START_LIMIT_MS = 10_000;
/** As the launcher and the unit have it. */
const ENVIRONMENT = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_TRIM_THRESHOLD_: '65536',
  MALLOC_TOP_PAD_: '65536',
};

export type Start = { readonly ms: number; readonly anonymousMiB: number };

/** Measures so many starts of a program, after one that pays for cold file caches. */
export async function measureStarts(
  program: string,
  dir: string,
  starts: number,
): Promise<readonly Start[]> {
  mkdirSync(dir, { mode: 0o700 });
  const config = prepare(dir);
  await start(program, dir, config);
  const measured: Start[] = [];
  for (let i = 0; i < starts; i += 1) measured.push(await start(program, dir, config));
  return measured;
}

function prepare(dir: string): string {
  const keyring = join(dir, 'keyring.json');
  execFileSync(TROUSSEAU, ['keyring', 'init', keyring], { stdio: ['ignore', 'ignore', 'inherit'] });
  const config = join(dir, 'config.yaml');
  writeFileSync(
    config,
    JSON.stringify({
      apiVersion: 'trousseau.io/v1',
      kind: 'KMSPluginConfiguration',
      listen: { socket: join(dir, 'kms.sock') },
      admin: { socket: join(dir, 'admin.sock') },
      log: { level: 'warn' },
      providers: [{ name: 'local', local: { keyringFile: keyring } }],
    }),
  );
  return config;
}

/** One start, measured by a client whose code is warm already and that calls as soon as the socket appears. */
async function start(program: string, dir: string, config: string): Promise<Start> {
  const watching = new AbortController();
  const appeared = Promise.withResolvers<void>();
  watch(dir, { signal: watching.signal }, (_event, file) => {
    if (file === 'kms.sock') appeared.resolve();
  });
  const limit = AbortSignal.timeout(START_LIMIT_MS);
  limit.addEventListener('abort', () => appeared.reject(new Error('no socket in time')));
  const began = performance.now();
  const daemon = spawn(program, ['serve', '--config', config], {
    stdio: 'inherit',
    env: { ...process.env, ...ENVIRONMENT },
  });
  const exited = new Promise<void>((resolve) => daemon.once('exit', () => resolve()));
  try {
    await appeared.promise;
    while (!(await isGood(join(dir, 'kms.sock')))) limit.throwIfAborted();
    return { ms: performance.now() - began, anonymousMiB: anonymousMiB(daemon.pid ?? 0) };
  } finally {
    watching.abort();
    daemon.kill('SIGTERM');
    await exited;
  }
}

/** By a new client each time: one that came between bind() and listen() would wait 100 ms for its next try. */
async function isGood(socket: string): Promise<boolean> {
  const client = createKmsClient(socket);
  try {
    return await client.v2.status().then(
      ({ healthz }) => healthz === 'ok',
      () => false, // not yet
    );
  } finally {
    client.close();
  }
}
