/**
 * Running programs in a virtual machine by QEMU's guest agent, over its socket on this machine.
 * https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
 */
import { randomInt } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Outcome } from '../../package/nspawn.ts';

export type GuestAgent = Disposable & {
  /** Runs a program as root and waits for its end; rejects after `limitMs`, or where it cannot be run. */
  exec(argv: readonly string[], limitMs: number): Promise<Outcome>;
  /** Has the machine shut down in order and boot again. The agent answers nothing to that, and ends. */
  reboot(): void;
};

type Reply = { readonly return?: unknown; readonly error?: { readonly desc: string } };
type Status = {
  readonly exited: boolean;
  readonly exitcode?: number;
  readonly signal?: number;
  readonly 'out-data'?: string;
  readonly 'err-data'?: string;
};

/** The agent tells of the end of a program only where it is asked. */
const POLL_MS = 200;
const ANSWER_MS = 30_000;
const SYNC_MS = 2_000;

/** Connects; rejects where the agent does not answer yet. `env` is what programs get. */
export async function connectGuestAgent(
  path: string,
  env: Readonly<Record<string, string>>,
): Promise<GuestAgent> {
  const socket = connect(path);
  const replies = createInterface({ input: socket })[Symbol.asyncIterator]();
  socket.on('error', () => undefined); // the replies end with it, and whoever asks is told
  const next = async (limitMs: number): Promise<Reply> => {
    const late = new AbortController();
    const timeout = sleep(limitMs, undefined, { signal: late.signal }).then(
      () => undefined,
      () => undefined,
    );
    const line = await Promise.race([replies.next(), timeout]);
    late.abort();
    if (line === undefined || line.done === true) throw new Error('the guest agent is silent');
    return JSON.parse(line.value) as Reply;
  };
  let before: Promise<unknown> = Promise.resolve();
  /** One question at a time: answers do not name theirs. */
  const ask = (execute: string, args: object): Promise<unknown> => {
    const answer = before.then(async () => {
      send(socket, execute, args);
      const { return: value, error } = await next(ANSWER_MS);
      if (error !== undefined) throw new Error(`${execute}: ${error.desc}`);
      return value;
    });
    before = answer.catch(() => undefined);
    return answer;
  };
  try {
    await synchronise(socket, next);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    async exec([program = '', ...arg], limitMs) {
      const until = performance.now() + limitMs;
      const list = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      const started = { path: program, arg, env: list, 'capture-output': true };
      const { pid } = (await ask('guest-exec', started)) as { readonly pid: number };
      for (;;) {
        const status = (await ask('guest-exec-status', { pid })) as Status;
        if (status.exited) return outcomeOf(program, status);
        if (performance.now() > until) throw new Error(`${program}: not within ${limitMs} ms`);
        await sleep(POLL_MS);
      }
    },
    reboot: () => send(socket, 'guest-shutdown', { mode: 'reboot' }),
    [Symbol.dispose]: () => socket.destroy(),
  };
}

function send(socket: Socket, execute: string, args: object): void {
  socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
}

/** What was asked before the agent ran is answered late: everything before the answer to this is. */
async function synchronise(
  socket: Socket,
  next: (limitMs: number) => Promise<Reply>,
): Promise<void> {
  const id = randomInt(2 ** 31);
  send(socket, 'guest-sync', { id });
  while ((await next(SYNC_MS)).return !== id);
}

function outcomeOf(program: string, status: Status): Outcome {
  const { exitcode, signal } = status;
  if (exitcode === undefined) throw new Error(`${program} was ended by signal ${signal}`);
  const text = (data = ''): string => Buffer.from(data, 'base64').toString();
  return { code: exitcode, out: text(status['out-data']), err: text(status['err-data']) };
}
