/**
 * A stand-in for systemd as the holder of a listening socket: a shell has it as fd 3 and starts the
 * plugin with it, again and again. A test process cannot be the holder itself, since Node accepts on
 * every socket that it listens on.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, linkSync, openSync, renameSync } from 'node:fs';
import { createServer, type ListenOptions } from 'node:net';
import { createInterface } from 'node:readline';
import { guard, release } from '../servers/guard.ts';
import { environment } from '../servers/process.ts';
import { inTime } from '../servers/wait-until.ts';
import { PROGRAM } from './program.ts';

export type SocketHolder = AsyncDisposable & {
  /**
   * Starts the plugin with the socket under a name, or under two, as fd 3 and 4; LISTEN_PID is its
   * process id.
   */
  start(...names: readonly [string, string?]): Promise<HeldPlugin>;
};

export type HeldPlugin = {
  readonly pid: number;
  /** Resolves when it has ended, with its exit code. */
  readonly ended: Promise<number>;
  /** The same; rejects where it does not end within 20 s. */
  exit(): Promise<number>;
};

const START_MS = 20_000;
const END_MS = 20_000;

// Assigned in the shell that becomes the plugin, because LISTEN_PID must be its process id.
const PLUGIN = 'echo "started $$"; LISTEN_PID=$$ exec "$0" serve --config "$1" >&2';
const SCRIPT = `exec 4<&3
while read -r count names; do
  (LISTEN_FDS=$count LISTEN_FDNAMES=$names sh -c '${PLUGIN}' "$0" "$1"; echo "ended $?") &
done`;

export type HeldProgram = {
  /** Default: `dist/trousseau`. */
  readonly program?: string;
  /** Added to its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Permission bits of the socket; 0660 unless given. */
  readonly mode?: number;
};

/**
 * Binds, and gives the socket away; nobody accepts until the plugin is started. A path without a slash
 * at its beginning is a name in the abstract namespace, after a NUL.
 */
export async function holdSocket(
  at: string | Pick<ListenOptions, 'host' | 'port'>,
  configFile: string,
  logFile: string,
  { program = PROGRAM, env, mode = 0o660 }: HeldProgram = {},
): Promise<SocketHolder> {
  const server = createServer();
  const path = typeof at === 'string' && at.startsWith('/') ? at : undefined;
  server.listen(typeof at === 'string' ? { path: at } : at);
  await once(server, 'listening');
  const { _handle: handle } = server as unknown as { readonly _handle: { readonly fd: number } };
  const log = openSync(logFile, 'a');
  const shell = spawn('/bin/sh', ['-c', SCRIPT, program, configFile], {
    env: environment(env),
    stdio: ['pipe', 'pipe', log, handle.fd],
  });
  closeSync(log);
  await once(shell, 'spawn');
  // Node unlinks what it has bound when it closes it, under the name that it had.
  if (path !== undefined) linkSync(path, `${path}.kept`);
  server.close();
  await once(server, 'close');
  if (path !== undefined) {
    renameSync(`${path}.kept`, path);
    chmodSync(path, mode);
  }
  const { stdin, stdout } = shell;
  if (stdin === null || stdout === null) throw new Error('the shell was spawned without pipes');
  const lines = createInterface({ input: stdout });
  const next = (word: string): Promise<number> =>
    new Promise((resolve) => {
      const onLine = (line: string): void => {
        if (!line.startsWith(`${word} `)) return;
        lines.off('line', onLine);
        resolve(Number(line.slice(word.length + 1)));
      };
      lines.on('line', onLine);
    });
  const alive = new Set<number>();
  return {
    async start(...names) {
      const [started, ending] = [next('started'), next('ended')];
      stdin.write(`${names.length} ${names.join(':')}\n`);
      const pid = await inTime('the start of the plugin by the shell', START_MS, started);
      guard(pid);
      alive.add(pid);
      const ended = ending.finally(() => {
        release(pid);
        alive.delete(pid);
      });
      const exit = () => inTime(`the end of process ${pid}`, END_MS, ended);
      return { pid, ended, exit };
    },
    async [Symbol.asyncDispose]() {
      for (const pid of alive) process.kill(pid, 'SIGKILL');
      const exited = once(shell, 'exit');
      stdin.end();
      await inTime('the end of the shell', END_MS, exited);
    },
  };
}
