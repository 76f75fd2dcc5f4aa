/**
 * Telling systemd how the service is, sd_notify(3), without native code: over the socket that
 * `OpenFile=/run/systemd/notify:notify` hands over (systemd 253 and newer), else by running
 * systemd-notify(1), else not at all.
 */
import { execFile } from 'node:child_process';
import { write } from 'node:fs';
import { type Clock, sleep } from './clock.ts';
import type { InheritedSocket } from './inherited-sockets.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export type NotifyChannel = {
  /** Takes one message, `NAME=VALUE` lines; rejects where it could not be handed over. */
  readonly send: (message: readonly string[]) => Promise<void>;
  /** Whether messages come from this process itself, so that no other's need be taken. */
  readonly direct: boolean;
};

/** Messages arrive in the order in which they are given; nothing here rejects or throws. */
export type Notifier = {
  /**
   * The socket is open; also the end of a reload. The first one forbids all others to notify, where
   * systemd can be told so (254 and newer; before it the unit's NotifyAccess= stays).
   */
  ready(): void;
  /** One sentence for `systemctl status`, without secrets; the same one again is not sent. */
  status(sentence: string): void;
  reloading(): void;
  /** Resolves when systemd has the watchdog's message, or it was lost. It waits for no other message. */
  alive(): Promise<void>;
  /** Resolves when everything has been told, or nobody has listened for a second. */
  stopping(): Promise<void>;
};

export type NotifierOptions = {
  /** Undefined where nobody wants to know: every method does nothing then. */
  readonly channel: NotifyChannel | undefined;
  readonly clock: Clock;
  /** CLOCK_MONOTONIC in microseconds, which RELOADING=1 must carry; the machine's unless given. */
  readonly monotonicUsec?: () => bigint;
  /** A message was lost, and why; called once. */
  readonly failed: (why: string) => void;
};

const NOTIFY = 'notify';
const SYSTEMD_NOTIFY = '/usr/bin/systemd-notify';
/** The program ends by itself after 5 s without systemd (sd_notify_barrier); a busy machine starts it slowly. */
const PROGRAM_LIMIT_MS = 10_000;
/** A message that systemd did not take in time is repeated, except the watchdog's, which is followed by the next. */
const PROGRAM_TRIES = 3;
/** The watchdog's messages under way: each may be a process. */
const WATCHDOG_AT_ONCE = 3;
const FAREWELL_LIMIT_MS = 1_000;
const RETRY_MS = 50;
const RETRIES = 40;
/** What pid 1 keeps of a status line is bounded, and a datagram is too. */
const MAX_STATUS = 512;
/** The queue of systemd's socket is full for now. */
const FULL: readonly (string | undefined)[] = ['EAGAIN', 'ENOBUFS'];

/** How systemd can be told, if it wants to be; `others` are the inherited sockets not served on. */
export function notifyChannel(
  env: Environment,
  others: readonly InheritedSocket[],
  program: string = SYSTEMD_NOTIFY,
): NotifyChannel | undefined {
  const socket = others.find(({ name }) => name === NOTIFY);
  if (socket !== undefined) {
    return { send: (message) => writeDatagram(socket.fd, message.join('\n')), direct: true };
  }
  const { NOTIFY_SOCKET } = env;
  if (NOTIFY_SOCKET === undefined || NOTIFY_SOCKET === '') return undefined;
  return { send: (message) => runSystemdNotify(program, NOTIFY_SOCKET, message), direct: false };
}

/**
 * On a thread of libuv's, since this socket blocks: where pid 1 is frozen and its queue is full, the
 * event loop must go on serving kube-apiserver.
 */
function writeDatagram(fd: number, message: string): Promise<void> {
  return new Promise((resolve, reject) => {
    write(fd, message, (error) => (error === null ? resolve() : reject(error)));
  });
}

/**
 * Without --no-block: it then waits until the message was read, because systemd drops one whose
 * sender it cannot find any more. The unit needs NotifyAccess=all.
 */
function runSystemdNotify(
  program: string,
  socket: string,
  message: readonly string[],
): Promise<void> {
  const options = { env: { NOTIFY_SOCKET: socket }, timeout: PROGRAM_LIMIT_MS } as const;
  return new Promise((resolve, reject) => {
    execFile(program, message, options, (error) => {
      if (error === null) return resolve();
      const how = error.signal ?? error.code;
      reject(new Error(`${program} ended with ${how}`, { cause: error }));
    });
  });
}

type Waiting = { readonly message: readonly string[]; readonly sent: () => void };

/** A notifier that has told nothing yet. */
export function createNotifier(options: NotifierOptions): Notifier {
  const { channel, clock, monotonicUsec = () => process.hrtime.bigint() / 1000n } = options;
  const waiting: Waiting[] = [];
  const end = new AbortController();
  let working = false;
  let watchdogs = 0;
  let said = '';
  let wasReady = false;
  let failed = false;

  const deliver = async (
    send: NotifyChannel['send'],
    message: readonly string[],
    mostTries: number,
  ): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await send(message);
      } catch (error) {
        const { code, message: why } = error as NodeJS.ErrnoException;
        const most = FULL.includes(code) ? RETRIES : mostTries;
        if (tries < most && (await sleep(clock, RETRY_MS, end.signal))) continue;
        if (!failed) options.failed(String(code ?? why));
        failed = true;
        return;
      }
    }
  };
  const work = async ({ send, direct }: NotifyChannel): Promise<void> => {
    working = true;
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      await deliver(send, next.message, direct ? 1 : PROGRAM_TRIES);
      next.sent();
    }
    working = false;
  };
  const tell = (...message: readonly string[]): Promise<void> => {
    if (channel === undefined || end.signal.aborted) return Promise.resolve();
    return new Promise((sent) => {
      waiting.push({ message, sent });
      if (!working) void work(channel);
    });
  };
  const statusLine = (): readonly string[] => (said === '' ? [] : [`STATUS=${said}`]);

  return {
    ready() {
      const alone = channel?.direct === true && !wasReady ? ['NOTIFYACCESS=main'] : [];
      wasReady = true;
      void tell('READY=1', ...alone, ...statusLine());
    },
    status(sentence) {
      const line = oneLine(sentence);
      if (line === said) return;
      said = line;
      void tell(...statusLine());
    },
    reloading: () => void tell('RELOADING=1', `MONOTONIC_USEC=${monotonicUsec()}`),
    async alive() {
      if (channel === undefined || end.signal.aborted || watchdogs >= WATCHDOG_AT_ONCE) return;
      watchdogs += 1;
      // A program that waits for systemd must not delay the next. Threads that write are few, and wait their turn.
      await (channel.direct ? tell('WATCHDOG=1') : deliver(channel.send, ['WATCHDOG=1'], 1));
      watchdogs -= 1;
    },
    async stopping() {
      const told = tell('STOPPING=1', 'STATUS=stopping');
      const limit = new AbortController();
      await Promise.race([told, sleep(clock, FAREWELL_LIMIT_MS, limit.signal)]);
      limit.abort();
      end.abort();
    },
  };
}

/** A line feed would begin another assignment. */
function oneLine(sentence: string): string {
  return sentence
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_STATUS)
    .toWellFormed();
}
