/**
 * systemd's watchdog, fed only by proof: the event loop turns, and our own listening socket accepts
 * a connection and answers a call on it. It never asks a provider, so an outage starves nobody.
 */
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import type { Clock, Timer } from './clock.ts';
import { areDescriptorsExhausted, type SpareDescriptors } from './spare-descriptors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** `unknown`: the proof could not be made, and a restart would not change that. */
export type Pulse =
  | { readonly kind: 'alive' }
  | { readonly kind: 'dead'; readonly why: string }
  | { readonly kind: 'unknown'; readonly why: string };

/** Looks once, and answers within the milliseconds or is taken for dead. */
export type Probe = (withinMs: number) => Promise<Pulse>;

export type WatchdogOptions = {
  /** WatchdogSec= of the unit, in milliseconds. */
  readonly limitMs: number;
  readonly probe: Probe;
  /** Sends systemd the watchdog's message; nothing waits for its end. */
  readonly feed: () => void;
  readonly clock: Clock;
  /** The pulse is another one than before; not called while all is well from the start. */
  readonly changed: (pulse: Pulse) => void;
};

export type Watchdog = { stop(): void };

/** WatchdogSec= of the unit in milliseconds, where the service manager watches this process. */
export function watchdogLimit(env: Environment, pid: number): number | undefined {
  const { WATCHDOG_USEC: usec, WATCHDOG_PID: forPid } = env;
  if (usec === undefined || !/^[1-9]\d*$/.test(usec)) return undefined;
  if (forPid !== undefined && forPid !== '' && forPid !== String(pid)) return undefined;
  return Number(usec) / 1000;
}

/**
 * Probes after each quarter of the time and gives each probe an eighth of it, so that three messages in a row may be
 * late, and a probe that failed for a passing reason is made again (docs/decisions/0017-watchdog.md). The first
 * message is sent at once.
 */
export function startWatchdog(options: WatchdogOptions): Watchdog {
  const { limitMs, probe, feed, clock, changed } = options;
  let stopped = false;
  let timer: Timer | undefined;
  let before: Pulse['kind'] = 'alive';

  const look = async (): Promise<void> => {
    const began = clock.now();
    const pulse = await probe(limitMs / 8);
    if (stopped) return;
    if (pulse.kind !== before) changed(pulse);
    before = pulse.kind;
    if (pulse.kind === 'dead') return wait(limitMs / 16);
    feed();
    wait(limitMs / 4 - (clock.now() - began));
  };
  const wait = (ms: number): void => {
    if (stopped) return;
    timer = clock.setTimer(Math.max(limitMs / 16, ms), () => void look());
  };
  void look();
  return {
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}

/** No service has it, so it is nobody's call in logs and figures; gRPC answers UNIMPLEMENTED. */
const PATH = '/trousseau.Watchdog/Probe';
/** One gRPC message without content. */
const EMPTY_MESSAGE = Buffer.alloc(5);
/** The server has closed the connection. */
const CUT_OFF: readonly (string | undefined)[] = ['ECONNRESET', 'EPIPE'];
/** Our user may not connect: what made the socket has it so. */
const FORBIDDEN: readonly (string | undefined)[] = ['EACCES', 'EPERM'];

export type SocketProbeOptions = {
  /** Where a connection reaches this process. */
  readonly path: () => string;
  /**
   * Why clients do not reach this process by the path, where that is known already. A restart would
   * end the connections that are still served.
   */
  readonly lost: () => string | undefined;
  /** Whether the server has all the connections that it may have. */
  readonly isFull: () => boolean;
  /** How many connections have had an answer since the start. */
  readonly answered: () => number;
  readonly spare: SpareDescriptors;
};

/**
 * Calls the gRPC server behind the socket, as kube-apiserver would. Where the path is lost, no file
 * descriptor is free, no other connection is taken, or other new ones were answered before this one, as where
 * many wait for a process that has little of a processor, a failure proves nothing.
 */
export function socketProbe({ path, lost, isFull, answered, spare }: SocketProbeOptions): Probe {
  return (withinMs) =>
    spare.lend(async () => {
      const before = answered();
      const { pulse, isCutOff } = await call(path(), withinMs);
      const why = lost();
      if (pulse.kind !== 'dead') return pulse;
      if (why !== undefined) return { kind: 'unknown', why };
      if (isCutOff && isFull()) {
        const full = `${pulse.why}; each connection that it may have makes a call, and no other one is taken`;
        return { kind: 'unknown', why: full };
      }
      // Not those that were begun: this one is among them where nothing is answered any more.
      if (answered() > before) {
        const others = `${pulse.why}; other new connections were answered meanwhile`;
        return { kind: 'unknown', why: others };
      }
      return areDescriptorsExhausted()
        ? { kind: 'unknown', why: `${pulse.why}; no file descriptor is free: raise LimitNOFILE=` }
        : pulse;
    });
}

/** What came of it; cut off by the server where it was connected. */
type Called = { readonly pulse: Pulse; readonly isCutOff: boolean };

function call(path: string, withinMs: number): Promise<Called> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (pulse: Pulse, isCutOff = false): void => {
      clearTimeout(timer);
      session.destroy();
      resolve({ pulse, isCutOff });
    };
    const fail = ({ code, message }: NodeJS.ErrnoException): void => {
      const why = `${path}: ${code ?? message}`;
      end({ kind: FORBIDDEN.includes(code) ? 'unknown' : 'dead', why }, CUT_OFF.includes(code));
    };
    // Before the session has listeners of its own: they know less of why it failed.
    socket.on('error', fail);
    const session = connectHttp2('http://localhost', { createConnection: () => socket });
    const timer = setTimeout(
      () => end({ kind: 'dead', why: `${path}: no answer within ${Math.round(withinMs)} ms` }),
      withinMs,
    );
    session.on('error', fail);
    const request = session.request({
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    request
      .on('error', fail)
      .on('close', () => end({ kind: 'dead', why: `${path}: cut off` }, true));
    request.once('response', () => end({ kind: 'alive' }));
    request.end(EMPTY_MESSAGE);
  });
}
