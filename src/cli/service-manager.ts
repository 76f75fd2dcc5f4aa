/**
 * What the service manager is told of the daemon while it runs: ready with its socket, alive by
 * proof, and the keyring's state in one sentence. Without a service manager it does nothing.
 */
import type { Environment } from '../config/environment.ts';
import type { ReaderTrouble } from '../keyring/reader-checks.ts';
import { isTransient, type KeyringState } from '../keyring/state.ts';
import type { Log } from '../observe/log.ts';
import type { Clock, Timer } from '../system/clock.ts';
import type { InheritedSocket } from '../system/inherited-sockets.ts';
import { createNotifier, notifyChannel } from '../system/notify.ts';
import { holdSpareDescriptors, type SpareDescriptors } from '../system/spare-descriptors.ts';
import type { ServedSocket } from '../system/unix-socket.ts';
import {
  type Pulse,
  socketProbe,
  startWatchdog,
  type Watchdog,
  watchdogLimit,
} from '../system/watchdog.ts';
import type { ReloaderOptions, ReloadReport } from './reload.ts';

export type ServiceManager = {
  /** The socket is open: from now on we are watched. */
  ready(): void;
  /** The same attempts, with the service manager told when one begins and ends. */
  announced(attempt: ReloaderOptions['attempt']): ReloaderOptions['attempt'];
  /** Tells it that the end has begun; resolves when it was told. */
  stopping(): Promise<void>;
};

export type ServiceManagerOptions = {
  readonly env: Environment;
  /** What was handed over beside the socket that is served. */
  readonly others: readonly InheritedSocket[];
  /** The socket that is served. */
  readonly served: Pick<ServedSocket, 'own' | 'lost'>;
  /** Whether the server has all the connections that it may have. */
  readonly isFull: () => boolean;
  /** How many connections have had an answer since the start. */
  readonly answered: () => number;
  readonly state: () => KeyringState;
  /** The decrypt-only providers that are down or refuse. */
  readonly readers: () => readonly ReaderTrouble[];
  /** What became of the last reload; undefined where there was none. */
  readonly reload: () => ReloadReport | undefined;
  readonly clock: Clock;
  readonly log: Log;
};

/** How often the keyring is looked at for the status. */
const STATUS_MS = 1_000;
/** Both ends of the watchdog's own connection, and as many for connections that are accepted before it. */
const SPARE_DESCRIPTORS = 8;

/** A service manager that has been told nothing yet. */
export function createServiceManager(options: ServiceManagerOptions): ServiceManager {
  const { env, clock, log, state, reload, served, readers } = options;
  const channel = notifyChannel(env, options.others);
  const notifier = createNotifier({
    channel,
    clock,
    failed: (why) => log.warn?.('systemd could not be told', { why }),
  });
  const limitMs = channel === undefined ? undefined : watchdogLimit(env, process.pid);
  let watchdog: Watchdog | undefined;
  let spare: SpareDescriptors | undefined;
  let timer: Timer | undefined;

  const follow = (): void => {
    notifier.status(statusSentence(state(), clock, reload(), served.lost(), readers()));
    timer = clock.setTimer(STATUS_MS, follow);
  };
  return {
    ready() {
      if (channel === undefined) return;
      notifier.ready();
      follow();
      if (limitMs === undefined) return;
      spare = holdSpareDescriptors(SPARE_DESCRIPTORS);
      watchdog = startWatchdog({
        limitMs,
        probe: socketProbe({
          ...{ path: served.own, lost: served.lost, spare },
          ...{ isFull: options.isFull, answered: options.answered },
        }),
        feed: () => void notifier.alive(),
        clock,
        changed: (pulse) => logPulse(log, pulse),
      });
    },
    announced: (attempt) => async (config, evenIfSame, signal) => {
      notifier.reloading();
      try {
        const candidate = await attempt(config, evenIfSame, signal);
        if (!candidate.ok) {
          notifier.ready();
          return candidate;
        }
        return {
          ...candidate,
          async take() {
            await candidate.take();
            notifier.ready();
          },
          async discard() {
            await candidate.discard();
            notifier.ready();
          },
        };
      } catch (error) {
        notifier.ready();
        throw error;
      }
    },
    stopping() {
      watchdog?.stop();
      spare?.close();
      timer?.cancel();
      return notifier.stopping();
    },
  };
}

function logPulse(log: Log, pulse: Pulse): void {
  switch (pulse.kind) {
    case 'alive':
      log.info?.('the socket answers again');
      return;
    case 'dead':
      log.error('the socket does not answer: a restart follows unless it does soon', {
        why: pulse.why,
      });
      return;
    case 'unknown':
      log.warn?.('cannot tell whether the socket answers', { why: pulse.why });
  }
}

/** What `systemctl status` shows; the reasons are those of /readyz, without secrets. */
export function statusSentence(
  state: KeyringState,
  clock: Pick<Clock, 'timeOfDay'>,
  reload?: ReloadReport,
  lost?: string,
  readers: readonly ReaderTrouble[] = [],
): string {
  const own = lost === undefined ? keyringSentence(state, clock) : `cannot be reached: ${lost}`;
  const others = readers.filter(({ error }) => !isTransient(error.kind)).map(readerSentence);
  const keyring = [own, ...others].join('; ');
  return reload === undefined || reload.ok
    ? keyring
    : `${keyring}; the last reload was refused at ${reload.at}: ${reload.why}`;
}

function readerSentence({ provider, error }: ReaderTrouble): string {
  return `${provider}, which only decrypts, refuses: ${error.message}`;
}

function keyringSentence(state: KeyringState, clock: Pick<Clock, 'timeOfDay'>): string {
  const timeOf = (since: number): string => new Date(clock.timeOfDay(since)).toISOString();
  switch (state.kind) {
    case 'ready':
      return `ready, encrypting with ${state.key.keyId}`;
    case 'starting':
      return `waiting for the provider: ${state.why?.message ?? 'it has not been reached yet'}`;
    case 'outage':
      return `provider unavailable since ${timeOf(state.since)}: ${state.why.message}`;
    case 'lost':
      return `${state.key.keyId} lost since ${timeOf(state.since)}: ${state.why.message}`;
    case 'refused':
      return `provider refuses since ${timeOf(state.since)}: ${state.why.message}`;
  }
}
