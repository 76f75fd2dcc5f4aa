/** kube-apiserver's part of one node: its real client code, and every call of it in the history. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { kmsProvider } from '../servers/encryption-configuration.ts';
import {
  type KubernetesClient,
  type KubernetesRelease,
  startKubernetesClient,
} from '../servers/kms-client.ts';
import type { CallBegin, CallEnd, Through } from './history.ts';
import type { Recorder } from './recorder.ts';
import { isSealed, type Store, type Stored, versionIn } from './store.ts';

const ERROR_LENGTH = 240;
const SEED_BYTES = 32;
const SECRET_BYTES = 200;

type Client = {
  readonly release: KubernetesRelease;
  readonly client: KubernetesClient;
  readonly gate: Gate;
};

export type Kube = AsyncDisposable & {
  readonly clients: readonly KubernetesClient[];
  write(api: 'v1' | 'v2', through: Through): Promise<void>;
  /** Resolves with whether it was read; the history tells why not. */
  read(object: Stored): Promise<boolean>;
  status(): Promise<void>;
  healthz(): Promise<void>;
  /** As kube-apiserver after a restart: it knows no data key. */
  restart(): Promise<void>;
};

/** Two kube-apiservers on one socket: one writes v2, the other v1; `old` is the release of the latter. */
export async function startKube(
  node: number,
  socket: string,
  dir: string,
  old: KubernetesRelease,
  store: Store,
  recorder: Recorder,
): Promise<Kube> {
  const [v2, v1] = [kmsProvider('v2', socket), kmsProvider('v1', socket, V1)];
  // 1.27 derives no keys from seeds yet, so it reads no v2 of today's.
  const of = { v2: [v2, v1], v1: old === '1.27' ? [v1] : [v1, v2] };
  await using started = new AsyncDisposableStack();
  const start = async (release: KubernetesRelease, api: 'v1' | 'v2'): Promise<Client> => {
    const folder = join(dir, `kube-${api}`);
    mkdirSync(folder, { recursive: true });
    const options = { release, dir: folder, socket, providers: of[api] };
    const client = started.use(await startKubernetesClient(options));
    return { release, client, gate: createGate() };
  };
  const clients = { v2: await start('1.36', 'v2'), v1: await start(old, 'v1') };
  const owned = started.move();

  const recorded = async (
    { release, gate }: Client,
    call: Pick<CallBegin, 'api' | 'through' | 'op' | 'object'>,
    request: () => Promise<Partial<CallEnd>>,
  ): Promise<boolean> => {
    let succeeded = false;
    const make = async (): Promise<void> => {
      const id = recorder.nextId();
      recorder.record({ e: 'call', id, node, client: release, ...call });
      try {
        recorder.record({ e: 'end', id, code: 'OK', ...(await request()) });
        succeeded = true;
      } catch (error) {
        const { code, message } = error as Error & { code?: string };
        const text = message.slice(0, ERROR_LENGTH);
        recorder.record({ e: 'end', id, code: code || 'none', error: text });
      }
    };
    await (call.op === 'load' ? gate.alone(make) : gate.pass(make));
    return succeeded;
  };

  return {
    clients: [clients.v2.client, clients.v1.client],
    async write(api, through) {
      const name = `object-${recorder.nextId()}`;
      const one = clients[api];
      await recorded(one, { api, through, op: 'write', object: name }, async () => {
        const plaintext = randomBytes(through === 'service' ? SEED_BYTES : SECRET_BYTES);
        const value =
          through === 'service'
            ? await one.client.encrypt(api, plaintext, name)
            : await one.client.toStorage(pathOf(name), plaintext);
        store.add({ name, api, through, client: one.release, value });
        const version = versionIn(value);
        const keyId = isSealed(value) && api === 'v2' ? value.keyId : undefined;
        return {
          sum: sumOf(plaintext),
          ...(version === undefined ? {} : { version }),
          ...(keyId === undefined ? {} : { keyId }),
        };
      });
    },
    async read(object) {
      const { name, api, through } = object;
      const one = clients[api === 'v1' && object.client === old ? 'v1' : 'v2'];
      return await recorded(one, { api, through, op: 'read', object: name }, async () => {
        // Only now: it may have been damaged, or put back, since it was chosen.
        const { value } = store.get(name);
        const data = isSealed(value)
          ? await one.client.decrypt(api, value, name)
          : (await one.client.fromStorage(pathOf(name), value)).data;
        return { sum: sumOf(data) };
      });
    },
    async status() {
      const call = { api: 'v2', through: 'service', op: 'status' } as const;
      await recorded(clients.v2, call, async () => {
        const { healthz, keyId } = await clients.v2.client.status();
        const version = /^vault:v(\d+):/.exec(keyId)?.[1];
        return { keyId, healthz, ...(version === undefined ? {} : { version: Number(version) }) };
      });
    },
    async healthz() {
      for (const api of ['v2', 'v1'] as const) {
        const one = clients[api];
        await recorded(one, { api, through: 'envelope', op: 'healthz' }, async () => {
          const bad = Object.values(await one.client.healthz()).find((text) => text !== '');
          return bad === undefined ? {} : { code: 'Unhealthy', error: bad.slice(0, ERROR_LENGTH) };
        });
      }
    },
    async restart() {
      for (const api of ['v2', 'v1'] as const) {
        const one = clients[api];
        await recorded(one, { api, through: 'envelope', op: 'load' }, async () => {
          await one.client.load();
          return {};
        });
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** No data key is remembered, so that every read asks the plugin. */
const V1 = { name: 'trousseau-v1', cachesize: -1 } as const;

type Gate = {
  pass(call: () => Promise<void>): Promise<void>;
  /** Waits for what has passed; meanwhile nothing else passes. */
  alone(act: () => Promise<void>): Promise<void>;
};

/** Loading ends what is under way with the configuration before it, as the end of a process would, and keeps what comes meanwhile waiting. */
function createGate(): Gate {
  const underWay = new Set<Promise<void>>();
  let closed: Promise<void> | undefined;
  return {
    async pass(call) {
      while (closed !== undefined) await closed;
      const made = call();
      underWay.add(made);
      try {
        await made;
      } finally {
        underWay.delete(made);
      }
    },
    async alone(act) {
      const opened = Promise.withResolvers<void>();
      closed = opened.promise;
      await Promise.allSettled(underWay);
      try {
        await act();
      } finally {
        closed = undefined;
        opened.resolve();
      }
    },
  };
}

function pathOf(name: string): string {
  return `/registry/secrets/default/${name}`;
}

function sumOf(plaintext: Uint8Array): string {
  return createHash('sha256').update(plaintext).digest('hex').slice(0, 16);
}
