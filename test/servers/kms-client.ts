/** Kubernetes' own KMS client code, of an old and of the current release, driven line by line. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import {
  type EncryptionProvider,
  writeEncryptionConfiguration,
} from './encryption-configuration.ts';
import { environment, logTail, type RunningProcess, watch } from './process.ts';

/** The release of Kubernetes that the client is taken from. */
export type KubernetesRelease = '1.22' | '1.27' | '1.36';
export type KmsApi = 'v1' | 'v2';

export type KubernetesClientOptions = {
  readonly release: KubernetesRelease;
  /** The test's own folder, for configuration and log. */
  readonly dir: string;
  /** The plugin's socket. */
  readonly socket: string;
  /** Of each call of the service itself; the envelope has its own in the configuration. */
  readonly timeoutMs?: number;
  /** For the envelope: as in EncryptionConfiguration, for Secrets. */
  readonly providers?: readonly EncryptionProvider[];
};

/** v1 has the ciphertext alone. */
export type Sealed = {
  readonly ciphertext: Buffer;
  readonly keyId: string;
  readonly annotations: Readonly<Record<string, Buffer>>;
};

/** How writing or reading many objects went; times are milliseconds. */
export type Load = {
  readonly count: number;
  readonly errors: number;
  /** Read, but not what was written. */
  readonly mismatches: number;
  /** Read, and due to be written again. */
  readonly stale: number;
  readonly firstError: string;
  /** gRPC's name of the status code, as `Unavailable`. */
  readonly firstCode: string;
  readonly elapsedMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};

/** Objects go through the API server's envelope, or their plain bytes straight to the service. */
export type Route =
  | { readonly through: 'envelope' }
  | { readonly through: 'service'; readonly api: KmsApi };

/** Calls may overlap. A failed one rejects with an Error whose `code` is gRPC's name, or ''. */
export type KubernetesClient = AsyncDisposable & {
  encrypt(api: KmsApi, plaintext: Uint8Array, uid?: string): Promise<Sealed>;
  decrypt(
    api: KmsApi,
    sealed: Pick<Sealed, 'ciphertext'> & Partial<Sealed>,
    uid?: string,
  ): Promise<Buffer>;
  status(): Promise<{ readonly version: string; readonly healthz: string; readonly keyId: string }>;
  /** Resolves when the client has read a line and answered it: how late it is itself. */
  ping(): Promise<void>;
  /** Forgets the connections of the calls above, and their back-off. */
  dial(): Promise<void>;
  /** Loads the configuration as an API server that starts: no data key is remembered. */
  load(): Promise<void>;
  /** The API server's own health checks; the text is empty where one passed. */
  healthz(): Promise<Readonly<Record<string, string>>>;
  /** What etcd would get for the object at that key. */
  toStorage(path: string, data: Uint8Array): Promise<Buffer>;
  fromStorage(
    path: string,
    stored: Uint8Array,
  ): Promise<{ readonly data: Buffer; readonly stale: boolean }>;
  /** Writes `count` random objects of `size` bytes with so many workers, and remembers them. */
  write(
    options: Route & { count: number; size?: number; workers?: number; append?: boolean },
  ): Promise<Load>;
  /** Reads all that was written, and compares it. */
  read(options: Route & { workers?: number }): Promise<Load>;
  stop(): Promise<void>;
};

type Reply = {
  readonly id: number;
  readonly error?: string;
  readonly code?: string;
  readonly plaintext?: string;
  readonly ciphertext?: string;
  readonly keyId?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly version?: string;
  readonly healthz?: string;
  readonly stored?: string;
  readonly stale?: boolean;
  readonly checks?: Readonly<Record<string, string>>;
  readonly load?: Load;
};

/** Starts a client; it connects at its first call. */
export async function startKubernetesClient(
  options: KubernetesClientOptions,
): Promise<KubernetesClient> {
  const { release, dir, socket, timeoutMs = 3_000, providers } = options;
  const args = [`-endpoint=unix://${socket}`, `-timeout=${timeoutMs}ms`];
  if (providers !== undefined) {
    const file = join(dir, `kms-client-${release}.yaml`);
    writeEncryptionConfiguration(file, providers);
    args.push(`-config=${file}`);
  }
  const { call, running } = await startLines(release, dir, args);
  return {
    encrypt: async (api, plaintext, uid = '') => {
      const reply = await call('encrypt', { api, uid, plaintext: base64(plaintext) });
      return {
        ciphertext: bytes(reply.ciphertext),
        keyId: reply.keyId ?? '',
        annotations: mapValues(reply.annotations ?? {}, bytes),
      };
    },
    decrypt: async (api, { ciphertext, keyId, annotations = {} }, uid = '') => {
      const sealed = {
        ciphertext: base64(ciphertext),
        annotations: mapValues(annotations, base64),
      };
      return bytes((await call('decrypt', { api, uid, keyId, ...sealed })).plaintext);
    },
    status: async () => {
      const { version = '', healthz = '', keyId = '' } = await call('status', { api: 'v2' });
      return { version, healthz, keyId };
    },
    ping: () =>
      call('ping', {}).then(
        () => Promise.reject(new Error('the client knows a ping')),
        // What it does not know it answers at once, without a call.
        (error: Error) => {
          if (!error.message.includes('unknown op')) throw error;
        },
      ),
    dial: async () => void (await call('dial', {})),
    load: async () => void (await call('load', {})),
    healthz: async () => (await call('healthz', {})).checks ?? {},
    toStorage: async (path, data) =>
      bytes((await call('transform-to', { path, plaintext: base64(data) })).stored),
    fromStorage: async (path, stored) => {
      const reply = await call('transform-from', { path, stored: base64(stored) });
      return { data: bytes(reply.plaintext), stale: reply.stale ?? false };
    },
    write: async (load) => loadOf(await call('write', { size: 1024, workers: 1, ...load })),
    read: async (load) => loadOf(await call('read', { workers: 1, ...load })),
    stop: running.stop,
    [Symbol.asyncDispose]: running.stop,
  };
}

type Call = (op: string, fields: Readonly<Record<string, unknown>>) => Promise<Reply>;

/** One JSON object a line each way; a reply carries the id of its request. */
async function startLines(
  release: KubernetesRelease,
  dir: string,
  args: readonly string[],
): Promise<{ readonly call: Call; readonly running: RunningProcess }> {
  const logFile = join(dir, `kms-client-${release}.log`);
  const log = openSync(logFile, 'a');
  const child = spawn(testServers()[`kms-client-${release}`], args, {
    env: environment(),
    stdio: ['pipe', 'pipe', log],
  });
  closeSync(log);
  await once(child, 'spawn');
  const running = watch(child, logFile);
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null) throw new Error('the client has no pipes');
  stdin.on('error', () => undefined); // it has ended, and whoever waits is told below
  const waiting = new Map<number, PromiseWithResolvers<Reply>>();
  createInterface({ input: stdout }).on('line', (line) => {
    const reply = JSON.parse(line) as Reply;
    const promise = waiting.get(reply.id);
    waiting.delete(reply.id);
    if (reply.error === undefined) promise?.resolve(reply);
    else promise?.reject(Object.assign(new Error(reply.error), { code: reply.code ?? '' }));
  });
  void running.exited.then((how) => {
    const error = new Error(`the client has ended: ${how}\n${logTail(logFile)}`);
    for (const promise of waiting.values()) promise.reject(error);
    waiting.clear();
  });
  let last = 0;
  const call: Call = (op, fields) => {
    if (!running.isRunning()) return Promise.reject(new Error('the client has ended'));
    last += 1;
    const promise = Promise.withResolvers<Reply>();
    waiting.set(last, promise);
    stdin.write(`${JSON.stringify({ id: last, op, ...fields })}\n`);
    return promise.promise;
  };
  return { call, running };
}

function loadOf({ load }: Reply): Load {
  if (load === undefined) throw new Error('the client answered without a load');
  return load;
}

function base64(data: Uint8Array): string {
  return Buffer.from(data).toString('base64');
}

function bytes(text = ''): Buffer {
  return Buffer.from(text, 'base64');
}

function mapValues<A, B>(
  object: Readonly<Record<string, A>>,
  map: (value: A) => B,
): Readonly<Record<string, B>> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}
