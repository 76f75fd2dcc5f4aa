/** Races of whole daemons, as they are shipped, on one path and one admin socket. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKmsClient } from '../../src/kms/client.ts';
import { askAdmin, localProviders, PROGRAM, writeConfig } from '../daemon/program.ts';
import { randomOf } from '../robustness/schedule.ts';
import { type RunningProcess, startProcess } from '../servers/process.ts';
import { waitUntil } from '../servers/wait-until.ts';

const LIMIT_MS = 30_000;
const DISTURBANCES = ['kill', 'stop', 'remove path', 'empty'] as const;

/** Each round starts two at once, then disturbs the one that serves and starts another. */
export async function runDaemonRounds(
  seed: number,
  rounds: number,
  played: (number: number, problems: readonly string[]) => void,
): Promise<void> {
  const random = randomOf(seed);
  for (let number = 0; number < rounds; number += 1) {
    const parent = random() < 0.5 ? tmpdir() : '/dev/shm';
    const folder = mkdtempSync(join(parent, 'trousseau-races-'));
    const disturbance = DISTURBANCES[number % DISTURBANCES.length] ?? 'kill';
    try {
      played(number, await runRound(folder, disturbance, random));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

async function runRound(
  folder: string,
  disturbance: (typeof DISTURBANCES)[number],
  random: () => number,
): Promise<string[]> {
  const run = join(folder, 'run');
  mkdirSync(run, { mode: 0o700 });
  const [socket, admin] = [join(run, 'kms.sock'), join(run, 'admin.sock')];
  const config = writeConfig(folder, {
    providers: await localProviders(folder),
    listen: { socket },
    admin: { socket: admin },
  });
  const started: RunningProcess[] = [];
  const start = async (): Promise<RunningProcess> => {
    const args = ['serve', '--config', config];
    const logFile = join(folder, `${started.length}.log`);
    const one = await startProcess({ program: PROGRAM, args, logFile });
    started.push(one);
    return one;
  };
  const problems: string[] = [];
  const expectOneServes = async (when: string): Promise<RunningProcess | undefined> => {
    await waitUntil(`one daemon ${when}`, LIMIT_MS, async () => {
      return running().length === 1 && (await isReady(admin)) && (await isServed(socket));
    });
    return running()[0];
  };
  const running = (): RunningProcess[] => started.filter((one) => one.isRunning());
  try {
    await Promise.all([start(), start()]);
    const first = await expectOneServes('of two that were started at once');
    for (const one of started.filter((other) => other !== first))
      if ((await one.exited) !== 'code 1')
        problems.push(`the other one ended: ${await one.exited}`);
    const later = random() < 0.5 ? start() : undefined;
    switch (disturbance) {
      case 'kill':
        await first?.kill();
        break;
      case 'stop':
        await first?.stop();
        break;
      case 'remove path':
        rmSync(socket, { force: true });
        break;
      case 'empty':
        for (const name of readdirSync(run)) rmSync(join(run, name), { force: true });
        break;
    }
    await later;
    if (running().length === 0) await start();
    // Where the second one came after all names were removed, both live: then one of them says so.
    await waitUntil('an answer of the one that serves', LIMIT_MS, () => isServed(socket));
    for (const one of running().slice(1)) await one.stop();
    if (running().length === 0) await start();
    await expectOneServes('after the disturbance');
  } catch (error) {
    problems.push(String(error));
  } finally {
    for (const one of started) if (one.isRunning()) await one.stop();
  }
  const left = readdirSync(run);
  if (left.length > 0) problems.push(`left behind: ${left.join(', ')}`);
  return problems;
}

async function isReady(admin: string): Promise<boolean> {
  return await askAdmin(admin, '/readyz').then(
    ({ status }) => status === 200,
    () => false,
  );
}

async function isServed(socket: string): Promise<boolean> {
  const client = createKmsClient(socket);
  try {
    return (await client.v2.status()).healthz === 'ok';
  } catch {
    return false; // nobody listens yet
  } finally {
    client.close();
  }
}
