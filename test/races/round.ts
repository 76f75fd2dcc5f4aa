/** Runs one round of the races, and answers what was not as it must be. */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerOf } from '../unit/system/sockets-under-test.ts';
import { leave } from './leftovers.ts';
import { type Disturbance, keepsClaims, mustServe, type Round, type Step } from './plan.ts';
import type { Racer, Racers } from './processes.ts';

const NAME = 'kms.sock';
const POLL_MS = 5;
const SETTLE_MS = 10_000;

/** `folder` is empty, and of a file system that the round names. */
export async function runRound(round: Round, folder: string, racers: Racers): Promise<string[]> {
  const directory = join(folder, 'run');
  const path = join(directory, NAME);
  mkdirSync(directory, { mode: 0o700 });
  await leave(round.before, path);
  const [spare, ...running] = racers.take(round.processes + 1);
  if (spare === undefined || running.length < round.processes) throw new Error('too few processes');
  const problems: string[] = [];
  try {
    await play(round.steps, running, path);
    problems.push(...(await atRest(round, running, path)));
    problems.push(...(await atEnd(running, spare, path)));
    if (keepsClaims(round)) problems.push(...overlaps(running));
    for (const { reports } of [spare, ...running])
      for (const report of reports)
        if (report.report === 'failed') problems.push(`accepting failed: ${report.why}`);
  } finally {
    for (const racer of running) racer.signal('SIGCONT');
    await racers.giveBack();
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
  }
  return problems;
}

async function play(
  steps: readonly Step[],
  running: readonly Racer[],
  path: string,
): Promise<void> {
  const began = performance.now();
  for (const step of steps) {
    const wait = step.atMs - (performance.now() - began);
    if (wait > 0) await sleep(wait);
    if (step.kind === 'files') disturb(step.what, path);
    else act(step, running[step.which], path);
  }
}

function act(step: Step & { kind: 'process' }, racer: Racer | undefined, path: string): void {
  if (racer === undefined) throw new Error(`there is no process ${step.which}`);
  if (step.action === 'start') racer.order({ order: 'start', path, word: racer.word });
  else if (step.action === 'stop') racer.order({ order: 'stop' });
  else racer.signal(SIGNALS[step.action]);
}

const SIGNALS = { kill: 'SIGKILL', pause: 'SIGSTOP', resume: 'SIGCONT' } as const;

function disturb(what: Disturbance, path: string): void {
  const directory = join(path, '..');
  switch (what) {
    case 'remove path':
      rmSync(path, { force: true });
      break;
    case 'empty':
      for (const name of readdirSync(directory)) rmSync(join(directory, name), { force: true });
      break;
    case 'replace directory':
      renameSync(directory, `${directory}.old`);
      // A process that serves may make it again before.
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      break;
    case 'remove directory':
      // Away by its name first: nobody can put anything into it while it is removed.
      renameSync(directory, `${directory}.gone`);
      rmSync(`${directory}.gone`, { recursive: true });
      break;
  }
}

type Standing = 'starting' | 'serving' | 'lost' | 'refused' | 'stopped' | 'killed';

function standingOf({ reports, killedAt }: Racer): Standing {
  if (killedAt() !== undefined) return 'killed';
  const last = reports.filter(({ report }) => report !== 'failed').at(-1)?.report;
  switch (last) {
    case 'serving':
    case 'found':
      return 'serving';
    case 'stopping':
    case undefined:
      return 'starting';
    case 'failed':
      throw new Error('it was left out above');
    default:
      return last;
  }
}

/** Waits until each process knows where it stands, and checks that it is right about that. */
async function atRest(round: Round, running: readonly Racer[], path: string): Promise<string[]> {
  const until = performance.now() + SETTLE_MS;
  let seen = '';
  while (performance.now() < until) {
    const standings = running.map(standingOf);
    const answer = await answerOf(path).catch((error: NodeJS.ErrnoException) => String(error.code));
    const serving = running.filter((_, i) => standings[i] === 'serving');
    const settled = !standings.includes('starting');
    seen = `${standings.join(', ')}; at the path: ${answer}`;
    if (settled && serving.length === 0 && mustServe(round)) return [`nobody serves: ${seen}`];
    const right = serving.length === 0 || (serving.length === 1 && serving[0]?.word === answer);
    if (settled && right) return [];
    await sleep(POLL_MS);
  }
  return [`a process is wrong about itself, or does not end what it began: ${seen}`];
}

/** Stops those that do not serve, then the one that does, and starts and stops one once more. */
async function atEnd(
  running: readonly Racer[],
  spare: Racer,
  path: string,
): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const racer of running) if (racer.killedAt() !== undefined) await racer.ended();
  const owner = running.find((racer) => standingOf(racer) === 'serving');
  for (const racer of running) if (racer !== owner) await stop(racer);
  if (owner !== undefined) {
    const answer = await answerOf(path).catch((error: NodeJS.ErrnoException) => String(error.code));
    if (answer !== owner.word) problems.push(`another process took the path with it: ${answer}`);
    await stop(owner);
  }
  spare.order({ order: 'start', path, word: spare.word });
  while (standingOf(spare) === 'starting') await spare.heard();
  if (standingOf(spare) !== 'serving')
    problems.push(`what was left behind stops a start: ${JSON.stringify(spare.reports)}`);
  await stop(spare);
  const left = readdirSync(join(path, '..'));
  if (left.length > 0) problems.push(`left behind: ${left.join(', ')}`);
  return problems;
}

async function stop(racer: Racer): Promise<void> {
  if (racer.killedAt() !== undefined) return;
  const isStopped = (): boolean => racer.reports.at(-1)?.report === 'stopped';
  if (!isStopped()) racer.order({ order: 'stop' });
  while (!isStopped()) await racer.heard();
}

/** Pairs that served at the same time: from the report of the start to the moment before the end. */
function overlaps(running: readonly Racer[]): string[] {
  const spans = running.flatMap(({ word, reports, killedAt }) => {
    const from = reports.find(({ report }) => report === 'serving')?.at;
    const to = killedAt() ?? reports.find(({ report }) => report === 'stopping')?.at ?? Infinity;
    return from === undefined ? [] : [{ word, from, to }];
  });
  return spans.flatMap((a) =>
    spans
      .filter((b) => a !== b && a.from <= b.from && b.from < a.to)
      .map((b) => `${a.word} and ${b.word} served at a time`),
  );
}
