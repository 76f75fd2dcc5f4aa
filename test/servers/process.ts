/** Starting, watching and ending a server of the tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { guard, release } from './guard.ts';
import { waitUntil } from './wait-until.ts';

/** How long a server may take to end after SIGTERM before it gets SIGKILL. */
const STOP_MS = 10_000;

/** How much of a log an error shows. */
const LOG_TAIL_LINES = 30;

export type Command = {
  readonly program: string;
  readonly args: readonly string[];
  /** Added to PATH and nothing else: the caller's own settings must not reach a test. */
  readonly env?: Readonly<Record<string, string>>;
  /** Gets standard output and standard error, after what is there. */
  readonly logFile: string;
};

/** A process that lives until it is told to stop, and no longer than the test process. */
export type RunningProcess = AsyncDisposable & {
  readonly pid: number;
  readonly logFile: string;
  /** Resolves when it has ended, with how: `code 0`, `signal SIGKILL`. */
  readonly exited: Promise<string>;
  /** True from the start until `exited` resolves. */
  isRunning(): boolean;
  /** SIGSTOP: it keeps its connections and answers nothing. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** SIGTERM, and SIGKILL if it has not ended 10 s later. Resolves when it has ended. */
  stop(): Promise<void>;
  /** SIGKILL. Resolves when it has ended. */
  kill(): Promise<void>;
};

/** Starts a process, and neither waits for it nor knows when it is ready. */
export async function startProcess(command: Command): Promise<RunningProcess> {
  const log = openSync(command.logFile, 'a');
  const child = spawn(command.program, command.args, {
    env: environment(command.env),
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  await once(child, 'spawn');
  child.unref(); // a test that forgot to stop it ends all the same, and it with the test
  return watch(child, command.logFile);
}

/** Starts a server and waits until `ready` answers true, at most for `timeoutMs`. */
export async function startServer(
  command: Command,
  timeoutMs: number,
  ready: (signal: AbortSignal) => Promise<boolean>,
): Promise<RunningProcess> {
  const running = await startProcess(command);
  try {
    await waitUntil('readiness', timeoutMs, (signal) => !running.isRunning() || ready(signal));
    if (!running.isRunning()) throw new Error(`it ended at once: ${await running.exited}`);
    return running;
  } catch (cause) {
    await running.kill();
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `${command.program} did not start: ${reason}\n${logTail(command.logFile)}`;
    throw new Error(message, { cause });
  }
}

/** What every process of the tests gets from the environment. */
export function environment(added: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, ...added };
}

/** The same life for a child that was started in another way. */
export function watch(child: ChildProcess, logFile: string): RunningProcess {
  const { pid } = child;
  if (pid === undefined) throw new Error('the process has not started');
  guard(pid);
  let running = true;
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      running = false;
      release(pid);
      resolve(signal === null ? `code ${code}` : `signal ${signal}`);
    });
  });
  const signal = (name: NodeJS.Signals): void => {
    if (running) process.kill(pid, name);
  };
  const kill = async (): Promise<void> => {
    child.ref();
    signal('SIGKILL');
    await exited;
  };
  const stop = async (): Promise<void> => {
    child.ref();
    signal('SIGTERM');
    signal('SIGCONT'); // a paused process hears SIGTERM only then
    const patience = new AbortController();
    const tooLong = sleep(STOP_MS, undefined, { signal: patience.signal }).then(
      kill,
      () => undefined,
    );
    await Promise.race([exited, tooLong]);
    patience.abort();
  };
  return {
    pid,
    logFile,
    exited,
    isRunning: () => running,
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    stop,
    kill,
    [Symbol.asyncDispose]: stop,
  };
}

/** The last lines of a log, for an error's message. */
export function logTail(logFile: string): string {
  return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
}
