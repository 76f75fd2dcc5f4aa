/** Real Vault servers: a dev server for most tests, and one with storage that can be sealed. */
import { join } from 'node:path';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { freePort } from './free-port.ts';
import { jsonRequest } from './json-request.ts';
import { type RunningProcess, startServer } from './process.ts';
import { type VaultAdmin, type VaultEndpoint, vaultAdmin } from './vault-admin.ts';
import { type VaultStorage, type VaultTls, writeVaultConfig } from './vault-config.ts';
import { waitUntil } from './wait-until.ts';

const START_MS = 30_000;

/** The oldest and the newest release that are supported. */
export type VaultRelease = 'oldest' | 'newest';

export type DevVaultOptions = {
  readonly release: VaultRelease;
  /** The test's own folder, for the log. */
  readonly dir: string;
  /** Default: a free one. */
  readonly port?: number;
};

/** Unsealed, all in memory; the root token is `root`. It cannot be started again. */
export type DevVault = AsyncDisposable & {
  readonly address: string;
  readonly port: number;
  readonly admin: VaultAdmin;
  readonly process: RunningProcess;
  stop(): Promise<void>;
};

/** Starts `vault server -dev` on a port of 127.0.0.1. */
export async function startDevVault(options: DevVaultOptions): Promise<DevVault> {
  const port = options.port ?? (await freePort());
  const endpoint = { address: `http://127.0.0.1:${port}` };
  const running = await startVault(options, port, endpoint, [
    ...['-dev', '-dev-root-token-id=root', '-dev-no-store-token'],
    `-dev-listen-address=127.0.0.1:${port}`,
  ]);
  return {
    address: endpoint.address,
    port,
    admin: vaultAdmin(endpoint, 'root'),
    process: running,
    stop: running.stop,
    [Symbol.asyncDispose]: running.stop,
  };
}

export type VaultOptions = {
  readonly release: VaultRelease;
  /** The test's own folder, for configuration, storage and log. */
  readonly dir: string;
  /** Default: a free one. */
  readonly port?: number;
  /** Default: file. */
  readonly storage?: VaultStorage;
  readonly tls?: VaultTls;
  /** Its name among the nodes of a raft cluster. Default: node. */
  readonly nodeId?: string;
  /** Default: true. Otherwise it is left as a new server is, and `initialise` makes it usable. */
  readonly initialise?: boolean;
};

/** A server with its data on disk. */
export type Vault = AsyncDisposable & {
  readonly address: string;
  readonly port: number;
  /** With the root token; before `initialise` with none. */
  readonly admin: VaultAdmin;
  /** The process that runs now, or ran last. */
  readonly process: RunningProcess;
  /** Makes the master key, of one share, and unseals. */
  initialise(): Promise<void>;
  seal(): Promise<void>;
  unseal(): Promise<void>;
  /** Starts a stopped server; it is sealed then. */
  start(): Promise<void>;
  /** SIGTERM, or SIGKILL. */
  stop(how?: 'stop' | 'kill'): Promise<void>;
  /** Stops, starts and unseals. */
  restart(): Promise<void>;
};

/** Starts `vault server -config`, initialised and unsealed unless it was said otherwise. */
export async function startSealableVault(options: VaultOptions): Promise<Vault> {
  const port = options.port ?? (await freePort());
  const { endpoint, file } = await writeVaultConfig(options, port);
  const launch = (): Promise<RunningProcess> =>
    startVault(options, port, endpoint, [`-config=${file}`]);
  let running = await launch();
  let admin = vaultAdmin(endpoint, '');
  let key = '';

  const unseal = async (): Promise<void> => {
    await admin.write('sys/unseal', { key });
    // With raft it is a standby until it has elected itself.
    await waitUntil(
      'unsealing',
      START_MS,
      async (signal) => (await health(endpoint, signal)) === 200,
    );
  };
  const initialise = async (): Promise<void> => {
    const shares = { secret_shares: 1, secret_threshold: 1 };
    const answer = await admin.write('sys/init', shares);
    const { keys, root_token } = answer as unknown as { keys: [string]; root_token: string };
    key = keys[0];
    admin = vaultAdmin(endpoint, root_token);
    await unseal();
  };
  const vault: Vault = {
    address: endpoint.address,
    port,
    get admin() {
      return admin;
    },
    get process() {
      return running;
    },
    initialise,
    unseal,
    seal: async () => {
      await admin.write('sys/seal');
    },
    start: async () => {
      if (!running.isRunning()) running = await launch();
    },
    stop: (how = 'stop') => running[how](),
    restart: async () => {
      await running.stop();
      running = await launch();
      await unseal();
    },
    [Symbol.asyncDispose]: () => running.stop(),
  };
  if (options.initialise !== false) await initialise();
  return vault;
}

/** Resolves once it answers sys/health at all: sealed and uninitialised servers are started too. */
function startVault(
  { release, dir }: { readonly release: VaultRelease; readonly dir: string },
  port: number,
  endpoint: VaultEndpoint,
  args: readonly string[],
): Promise<RunningProcess> {
  const dev = args.includes('-dev');
  return startServer(
    {
      program: testServers()[`vault-${release}`],
      args: ['server', ...args],
      env: { HOME: dir },
      logFile: join(dir, `vault-${port}.log`),
    },
    START_MS,
    async (signal) => (await health(endpoint, signal)) === 200 || !dev,
  );
}

async function health(endpoint: VaultEndpoint, signal: AbortSignal): Promise<number> {
  const url = `${endpoint.address}/v1/sys/health`;
  const { status } = await jsonRequest({ ...endpoint, method: 'GET', url, signal });
  return status;
}
