/** The composition root: builds the parts of the daemon in the order in which they depend on each other, and stops them in reverse. */
import { createServer, type Server, type Socket } from 'node:net';
import type { ResolvedConfig } from '../config/environment.ts';
import { healthOf } from '../keyring/health.ts';
import { createKeyring, type Keyring } from '../keyring/keyring.ts';
import { acceptConnection } from '../kms/authority/connection.ts';
import type { Method } from '../kms/method.ts';
import { createKmsServer } from '../kms/server.ts';
import * as v1beta1 from '../kms/v1beta1.ts';
import * as v2 from '../kms/v2.ts';
import { createAdminServer } from '../observe/admin.ts';
import type { Log } from '../observe/log.ts';
import { createLocalProvider } from '../providers/local/local-provider.ts';
import type { Provider } from '../providers/provider.ts';
import { createVaultProvider } from '../providers/vault/vault-provider.ts';
import { type Clock, systemClock } from '../system/clock.ts';
import { readSecretFile } from '../system/files.ts';
import { listenOnSocket, type SocketRefusal } from '../system/unix-socket.ts';
import { VERSION } from '../version.ts';
import { readinessOf } from './readiness.ts';

/** A running daemon; `stop` loses no call, and resolves when nothing is left open. */
export type Daemon = { stop(): Promise<void> };

type Environment = Readonly<Record<string, string | undefined>>;

/** How long calls under way have at a stop; systemd and people expect an end within 5 s. */
const DRAIN_LIMIT_MS = 4_000;
const MAX_PORT = 65_535;

/** Starts everything, or says why a socket cannot be had. */
export async function startDaemon(
  config: ResolvedConfig,
  env: Environment,
  log: Log,
): Promise<Daemon | SocketRefusal> {
  const clock = systemClock;
  const keyring = keyringOf(config, env, log, clock);
  const health = () => healthOf(keyring.state(), clock.now(), config.health.outageGrace);
  const kms = createKmsServer(methodsOf(config, keyring, health), { log, clock });
  const connections = new Set<Socket>();
  const listener = createServer((socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    acceptConnection(socket, kms.connect);
  });
  const { socket: path, mode, group } = config.listen;
  const refused = await listenOnSocket(listener, { path, mode, group });
  if (refused !== undefined) return refused;
  const admin = createAdminServer(() => readinessOf(keyring.state(), clock.now()));
  const adminRefused = await listenAdmin(admin, config.admin);
  if (adminRefused !== undefined) {
    await closed(listener);
    return adminRefused;
  }
  keyring.start();
  log.info?.('listening', { socket: path, apis: config.listen.apis.join(','), version: VERSION });
  return {
    async stop() {
      const closing = closed(listener);
      await kms.drain(DRAIN_LIMIT_MS);
      // What is open still has never made a call.
      for (const socket of connections) socket.destroy();
      await closing;
      await keyring.stop();
      admin.closeAllConnections();
      await closed(admin);
    },
  };
}

function keyringOf(config: ResolvedConfig, env: Environment, log: Log, clock: Clock): Keyring {
  const readers = config.providers.map((provider): Provider => {
    const providerLog = log.with({ provider: provider.name });
    return 'vault' in provider
      ? createVaultProvider(provider.name, provider.vault, {
          log: providerLog,
          env,
          clock,
          readSecret: (place) => readSecretFile(place, env),
        })
      : createLocalProvider(provider.name, provider.local, { log: providerLog, env });
  });
  const writer = readers.find(({ name }) => name === config.write[0]);
  if (writer === undefined)
    throw new Error('the configuration was not resolved: write names no provider');
  return createKeyring({
    writer,
    readers,
    watchIntervalMs: config.health.watchInterval,
    cache: config.decryptCache && {
      maxEntries: config.decryptCache.maxEntries,
      maxAgeMs: config.decryptCache.maxAge,
    },
    clock,
    log,
  });
}

function methodsOf(
  config: ResolvedConfig,
  keyring: Keyring,
  health: Parameters<typeof v2.statusMethod>[0],
): readonly Method[] {
  const { apis } = config.listen;
  return [
    ...(apis.includes('v1')
      ? [
          v1beta1.versionMethod({ name: 'Trousseau', version: VERSION }),
          v1beta1.encryptMethod(keyring),
          v1beta1.decryptMethod(keyring),
        ]
      : []),
    ...(apis.includes('v2')
      ? [v2.statusMethod(health), v2.encryptMethod(keyring), v2.decryptMethod(keyring)]
      : []),
  ];
}

async function listenAdmin(
  admin: Server,
  { socket, address }: ResolvedConfig['admin'],
): Promise<SocketRefusal | undefined> {
  if (address !== undefined) {
    const at = address.lastIndexOf(':');
    const host = address.slice(0, at).replace(/^\[|\]$/g, '');
    const port = Number(address.slice(at + 1));
    if (port > MAX_PORT)
      return { problem: `admin.address ${address}: no port is above ${MAX_PORT}` };
    return await new Promise((resolve) => {
      admin.once('error', (error: NodeJS.ErrnoException) =>
        resolve({
          problem: `cannot listen on admin.address ${address}: ${error.code ?? error.message}`,
        }),
      );
      admin.listen(port, host, () => resolve(undefined));
    });
  }
  if (socket === undefined) return undefined;
  return await listenOnSocket(admin, { path: socket, mode: 0o600, group: undefined });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
