/** The processes of the races: a few that are used again, and a new one for each that was killed. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { monotonicMs, type Order, type Report } from './messages.ts';

/** One process, and what it has said in this round. */
export type Racer = {
  readonly word: string;
  readonly reports: readonly Report[];
  /** When it was killed, if it was. */
  killedAt(): number | undefined;
  /** Resolves when one that was killed has ended: until then the kernel keeps its sockets. */
  ended(): Promise<void>;
  order(order: Order): void;
  signal(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void;
  /** Resolves at the next report; rejects with what it has written where it has ended by itself. */
  heard(): Promise<void>;
};

export type Racers = {
  /** Processes for a round; each answers with another word. */
  take(count: number): readonly Racer[];
  /** Ends the round; rejects with what a process has written when it ended by itself. */
  giveBack(): Promise<void>;
  stop(): Promise<void>;
};

type Idle = { readonly child: ChildProcess; readonly stderr: () => string };

/** Starts `count` of them. */
export function startRacers(count: number): Racers {
  const idle: Idle[] = [];
  const inRound = new Map<Idle, () => boolean>();
  const all = new Set<ChildProcess>();
  let words = 0;
  const spawn = (): void => {
    const child = fork(join(import.meta.dirname, 'server.ts'), [], {
      stdio: [0, 1, 'pipe', 'ipc'],
    });
    let text = '';
    child.stderr?.on('data', (data) => {
      text += data;
    });
    all.add(child);
    child.once('exit', () => all.delete(child));
    idle.push({ child, stderr: () => text });
  };
  for (let i = 0; i < count; i += 1) spawn();

  const racerOf = (one: Idle): Racer => {
    const { child } = one;
    words += 1;
    const word = `racer ${words}`;
    const reports: Report[] = [];
    let killedAt: number | undefined;
    let wake = (): void => undefined;
    const onMessage = (report: Report): void => {
      reports.push(report);
      wake();
    };
    const onExit = (): void => wake();
    child.on('message', onMessage).on('exit', onExit);
    inRound.set(one, () => {
      child.off('message', onMessage).off('exit', onExit);
      return killedAt !== undefined;
    });
    return {
      word,
      reports,
      killedAt: () => killedAt,
      async ended() {
        if (!hasEnded(child)) await once(child, 'exit');
      },
      order: (order) => void (child.connected && child.send(order)),
      signal(signal) {
        if (signal === 'SIGKILL') killedAt ??= monotonicMs();
        child.kill(signal);
        if (signal === 'SIGKILL') spawn();
      },
      heard: () =>
        new Promise((resolve, reject) => {
          wake = () => {
            if (hasEnded(child) && killedAt === undefined) reject(endedByItself(one));
            else resolve();
          };
          if (hasEnded(child)) wake();
        }),
    };
  };
  return {
    take: (wanted) => idle.splice(0, wanted).map(racerOf),
    async giveBack() {
      for (const [one, end] of inRound) {
        const { child } = one;
        const wasKilled = end();
        inRound.delete(one);
        if (!wasKilled && hasEnded(child)) throw endedByItself(one);
        if (!wasKilled) idle.push(one);
        else if (!hasEnded(child)) await once(child, 'exit');
      }
    },
    async stop() {
      for (const child of all) {
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }
    },
  };
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

function endedByItself({ child, stderr }: Idle): Error {
  return new Error(
    `a process ended by itself (${child.exitCode ?? child.signalCode}): ${stderr()}`,
  );
}
