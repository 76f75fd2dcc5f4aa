/** A real etcd of one node, read and written through its JSON gateway. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { freePort } from './free-port.ts';
import { jsonRequest } from './json-request.ts';
import { type RunningProcess, startServer } from './process.ts';

const START_MS = 30_000;

export type Etcd = AsyncDisposable & {
  /** As in `--etcd-servers`. */
  readonly endpoint: string;
  readonly port: number;
  /** Holds `member/snap/db`. */
  readonly dataDir: string;
  readonly process: RunningProcess;
  /** The value of a key, or undefined. */
  range(key: string): Promise<Buffer | undefined>;
  /** Every key that starts so, in order. */
  rangePrefix(prefix: string): Promise<readonly EtcdEntry[]>;
  put(key: string, value: Uint8Array): Promise<void>;
  deletePrefix(prefix: string): Promise<void>;
  stop(): Promise<void>;
};

export type EtcdEntry = { readonly key: string; readonly value: Buffer };

/** Starts it on ports of 127.0.0.1, without TLS, its data in the test's folder. */
export async function startEtcd({ dir }: { readonly dir: string }): Promise<Etcd> {
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const peers = `http://127.0.0.1:${await freePort()}`;
  const dataDir = join(dir, `etcd-${port}`);
  mkdirSync(dataDir, { mode: 0o700 });
  const running = await startServer(
    {
      program: testServers().etcd,
      args: [
        ...[`--data-dir=${dataDir}`, '--name=node', `--initial-cluster=node=${peers}`],
        ...[`--listen-client-urls=${endpoint}`, `--advertise-client-urls=${endpoint}`],
        ...[`--listen-peer-urls=${peers}`, `--initial-advertise-peer-urls=${peers}`],
        '--unsafe-no-fsync', // the data dies with the test
      ],
      logFile: join(dir, `etcd-${port}.log`),
    },
    START_MS,
    async (signal) => {
      const url = `${endpoint}/health`;
      return (await jsonRequest({ method: 'GET', url, signal })).status === 200;
    },
  );
  const call = async (path: string, body: unknown): Promise<readonly StoredEntry[]> => {
    const reply = await jsonRequest({ method: 'POST', url: `${endpoint}/v3/kv/${path}`, body });
    if (reply.status !== 200) throw new Error(`etcd: ${path}: ${JSON.stringify(reply)}`);
    return (reply.body as { readonly kvs?: readonly StoredEntry[] }).kvs ?? [];
  };
  return {
    endpoint,
    port,
    dataDir,
    process: running,
    range: async (key) => {
      const [entry] = await call('range', { key: base64(key) });
      return entry === undefined ? undefined : Buffer.from(entry.value ?? '', 'base64');
    },
    rangePrefix: async (prefix) => {
      const found = await call('range', { key: base64(prefix), range_end: base64(after(prefix)) });
      return found.map(({ key, value = '' }) => ({
        key: Buffer.from(key, 'base64').toString(),
        value: Buffer.from(value, 'base64'),
      }));
    },
    put: async (key, value) => {
      await call('put', { key: base64(key), value: base64(value) });
    },
    deletePrefix: async (prefix) => {
      await call('deleterange', { key: base64(prefix), range_end: base64(after(prefix)) });
    },
    stop: running.stop,
    [Symbol.asyncDispose]: running.stop,
  };
}

/** The gateway leaves an empty value out. */
type StoredEntry = { readonly key: string; readonly value?: string };

function base64(bytes: string | Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/** The first key behind all keys that start so; ASCII, as Kubernetes' keys are. */
function after(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1);
  return prefix.slice(0, -1) + String.fromCharCode(last + 1);
}
