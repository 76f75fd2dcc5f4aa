/** The composition root: builds the parts of the daemon in the order in which they depend on each other, and stops them in reverse. */
import { createServer, type Server } from 'node:net';
import type { Environment, ResolvedConfig } from '../config/environment.ts';
import { createFailures } from '../keyring/failures.ts';
import { healthOf } from '../keyring/health.ts';
import type { KeyId } from '../keyring/key-id.ts';
import { createKeyringSwap } from '../keyring/swap.ts';
import { createKmsServer } from '../kms/server.ts';
import { LIMITS } from '../limits.ts';
import type { Log } from '../observe/log.ts';
import { createLoginMemory } from '../providers/vault/auth/login-memory.ts';
import { systemClock } from '../system/clock.ts';
import { serveOnInherited } from '../system/inherited-serving.ts';
import type { InheritedSocket } from '../system/inherited-sockets.ts';
import type { SocketRefusal } from '../system/socket-rights.ts';
import { stateFiles } from '../system/state-file.ts';
import { type SocketOptions, serveOnSocket } from '../system/unix-socket.ts';
import { boundPath } from '../system/unix-table.ts';
import { watchFile } from '../system/watch-file.ts';
import { VERSION } from '../version.ts';
import { startAdminEndpoint } from './admin-endpoint.ts';
import { createAttempt } from './candidate.ts';
import type { ConfigSource } from './config-source.ts';
import { HANDOVER_FILE, openHandover } from './handover.ts';
import type { LiveLog } from './live-log.ts';
import { methodsOf } from './methods.ts';
import { buildKeyring, isAcknowledged } from './providers.ts';
import { readinessOf } from './readiness.ts';
import { createReloader } from './reload.ts';
import { createServiceManager } from './service-manager.ts';

/** A running daemon; `stop` loses no call, and resolves when nothing is left open. */
export type Daemon = {
  /** Reads the configuration anew and tries it, changed or not. */
  reload(): void;
  stop(): Promise<void>;
};

export type DaemonOptions = {
  readonly config: ResolvedConfig;
  /** Where `config` was read from, and is read from again. */
  readonly file: { readonly path: string; readonly fingerprint: string };
  readonly read: ConfigSource;
  readonly env: Environment;
  readonly live: LiveLog;
  /** The log that a configuration asks for. */
  readonly logOf: (config: ResolvedConfig) => Log;
  /** The socket to serve on where it was handed over; otherwise one is bound. */
  readonly inherited: InheritedSocket | undefined;
  /** What else was handed over, for telling the service manager. */
  readonly others: readonly InheritedSocket[];
  /** What is wrong with what was handed over, and does not keep it from being served. */
  readonly warnings: readonly string[];
};

/** How long calls under way have at a stop; systemd and people expect an end within 5 s. */
const DRAIN_LIMIT_MS = 4_000;
/** A file counts as written when it has been left alone for so long. */
const SETTLE_MS = 500;

/** Starts everything, or says why a socket cannot be had. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon | SocketRefusal> {
  const { config: started, env, inherited, live } = options;
  const { log } = live;
  const clock = systemClock;
  const logins = createLoginMemory(clock);
  let config = started;
  const handover = await openHandover({
    files: stateFiles(HANDOVER_FILE, env),
    socket: (inherited && boundPath(inherited.fd)) ?? started.listen.socket,
    clock,
    log,
  });
  const context = {
    ...{ env, log, clock, logins },
    remembered: handover.leftFor,
    announcing: handover.announcing,
    isAcknowledged: (lost: KeyId): boolean => isAcknowledged(config, lost),
    failures: createFailures(log, clock),
  };
  const swap = createKeyringSwap(buildKeyring(config, context).keyring);
  const { keyring } = swap;
  const health = () => healthOf(keyring.state(), clock.now(), config.health.outageGrace);
  const kms = createKmsServer(methodsOf(config.listen.apis, keyring, health), { log, clock });
  const createListener = (): Server => createServer(kms.accept);
  const { socket: path, mode, group, sharedDirectory: shared } = config.listen;
  const ofUnit = env['RUNTIME_DIRECTORY']?.split(':') ?? [];
  const common = { path, shared, ofUnit, clock, ...socketEvents(log) };
  const served =
    inherited === undefined
      ? await serveOnSocket(createListener, { ...common, mode, group })
      : await serveOnInherited(createListener, inherited, common);
  if ('problem' in served) return served;
  for (const why of [...served.warnings, ...options.warnings]) log.warn?.('the socket', { why });
  const apply = (next: ResolvedConfig): void => {
    config = next;
    live.become(options.logOf(next));
  };
  const manager = createServiceManager({
    ...{ env, others: options.others, served, log, clock },
    state: keyring.state,
    readers: keyring.readerTroubles,
    isFull: () => kms.open().open >= LIMITS.connections,
    answered: kms.answered,
    reload: () => reloader.report(),
  });
  const reloader = createReloader({
    read: options.read,
    seen: options.file.fingerprint,
    attempt: manager.announced(
      createAttempt({ swap, started, current: () => config, apply, ...context }),
    ),
    log,
  });
  keyring.start();
  handover.follow(keyring, () => config);
  manager.ready();
  // After the socket for kube-apiserver, which does not wait for it.
  const admin = startAdminEndpoint({
    ...{ admin: config.admin, shared, clock, log },
    readiness: () =>
      readinessOf({
        state: keyring.state(),
        now: clock.now(),
        reload: reloader.report(),
        reloadRequests: reloader.requests(),
        readers: keyring.readerTroubles(),
        loaded: keyring.loaded(),
        queued: keyring.queued(),
        failedCalls: context.failures.counts(),
        cancelledCalls: context.failures.cancelled(),
        connections: kms.open(),
        lost: served.lost(),
        decryptCache: keyring.remembered(),
      }),
  });
  log.info?.('listening', {
    ...(inherited === undefined ? { socket: path } : { fd: inherited.fd, name: inherited.name }),
    apis: config.listen.apis.join(','),
    version: VERSION,
  });
  const watch = watchFile(options.file.path, {
    clock,
    settleMs: SETTLE_MS,
    changed: reloader.look,
    lost: (why) =>
      log.warn?.('changes of the configuration are not noticed any more: send SIGHUP', { why }),
  });
  reloader.look(); // what changed before the watch began
  return {
    reload: reloader.now,
    async stop() {
      const told = manager.stopping();
      watch.stop();
      const reloading = reloader.stop();
      const closing = served.close();
      await kms.drain(DRAIN_LIMIT_MS);
      await closing;
      await reloading;
      await handover.stop();
      await keyring.stop();
      await admin.stop();
      await told;
    },
  };
}

/** What is said of the socket while it is served. */
function socketEvents(log: Log): Pick<SocketOptions, 'changed' | 'failed'> {
  return {
    changed: (why) =>
      why === undefined
        ? log.warn?.('clients reach this process by the socket again')
        : log.error('clients cannot reach this process by the socket', { why }),
    failed: (why) => log.warn?.('a connection could not be accepted', { why }),
  };
}
