/** A real kube-apiserver without a cluster: etcd is all that it needs. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { createAuthority, createRsaKey } from './certificates.ts';
import {
  type EncryptionProvider,
  IDENTITY,
  writeEncryptionConfiguration,
} from './encryption-configuration.ts';
import { freePort } from './free-port.ts';
import { type JsonReply, jsonRequest } from './json-request.ts';
import { type RunningProcess, startServer } from './process.ts';

const START_MS = 120_000;

export type KubeApiserverOptions = {
  /** The test's own folder, for certificates, configuration and log. */
  readonly dir: string;
  /** etcd's endpoint. */
  readonly etcd: string;
  /** For Secrets: the first one writes, all of them read. Default: identity. */
  readonly providers?: readonly EncryptionProvider[];
  /** For example `{ KMSv1: true }`. */
  readonly featureGates?: Readonly<Record<string, boolean>>;
  /** Polls the encryption configuration every minute. Default: false. */
  readonly reload?: boolean;
  /** What must answer 200 at the start; /readyz asks the KMS plugins too. Default: /readyz. */
  readonly waitFor?: '/readyz' | '/livez';
  readonly args?: readonly string[];
};

export type KubeApiserver = AsyncDisposable & {
  /** `https://127.0.0.1:PORT` */
  readonly address: string;
  readonly caFile: string;
  /** The certificate of a member of system:masters. */
  readonly admin: { readonly certFile: string; readonly keyFile: string };
  /** The EncryptionConfiguration, which a test may write anew. */
  readonly configFile: string;
  readonly process: RunningProcess;
  /** As the admin; resolves for every HTTP status. */
  request(method: string, path: string, body?: unknown): Promise<JsonReply>;
  readonly secrets: Secrets;
  /** True where it answers 200. */
  readyz(): Promise<boolean>;
  /** What /healthz/kms-providers answers; `kms-provider-0` is the name where v1 is in use. */
  kmsHealth(check?: string): Promise<JsonReply>;
  stop(): Promise<void>;
  /** Stops and starts it with the same ports, and with other providers and gates where they are given. */
  restart(
    providers?: readonly EncryptionProvider[],
    featureGates?: KubeApiserverOptions['featureGates'],
  ): Promise<void>;
};

/** Secrets with one entry `value`; all but `read` reject for a status >= 300. */
export type Secrets = {
  create(name: string, value: string, namespace?: string): Promise<void>;
  /** The value, or the reply that was no Secret. */
  read(name: string, namespace?: string): Promise<string | JsonReply>;
  list(namespace?: string): Promise<readonly { readonly name: string; readonly value: string }[]>;
  /** Writes it anew without a change, as a storage migration does. */
  rewrite(name: string, namespace?: string): Promise<void>;
  delete(name: string, namespace?: string): Promise<void>;
};

/** Starts it on a port of 127.0.0.1. */
export async function startKubeApiserver(options: KubeApiserverOptions): Promise<KubeApiserver> {
  const port = await freePort();
  const dir = join(options.dir, `kube-apiserver-${port}`);
  mkdirSync(dir, { mode: 0o700 });
  const address = `https://127.0.0.1:${port}`;
  const authority = await createAuthority(dir);
  const server = await authority.issue('server', {
    commonName: 'kube-apiserver',
    hosts: ['127.0.0.1', 'localhost', 'kubernetes.default.svc'],
  });
  const admin = await authority.issue('admin', {
    commonName: 'admin',
    organisation: 'system:masters',
  });
  const serviceAccountKey = join(dir, 'service-account.key');
  await createRsaKey(serviceAccountKey);
  const configFile = join(dir, 'encryption.yaml');
  writeEncryptionConfiguration(configFile, options.providers ?? [IDENTITY]);

  const client = {
    ca: authority.ca,
    cert: readFileSync(admin.certFile, 'utf8'),
    key: readFileSync(admin.keyFile, 'utf8'),
  };
  const request = (
    method: string,
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<JsonReply> =>
    jsonRequest({
      ...client,
      method,
      url: `${address}${path}`,
      body,
      ...(signal === undefined ? {} : { signal }),
    });

  const args = [
    `--etcd-servers=${options.etcd}`,
    ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', `--secure-port=${port}`],
    ...[`--tls-cert-file=${server.certFile}`, `--tls-private-key-file=${server.keyFile}`],
    `--client-ca-file=${authority.caFile}`,
    '--authorization-mode=RBAC',
    '--service-cluster-ip-range=10.0.0.0/24',
    '--endpoint-reconciler-type=none',
    '--disable-admission-plugins=ServiceAccount',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${serviceAccountKey}`,
    `--service-account-signing-key-file=${serviceAccountKey}`,
    `--encryption-provider-config=${configFile}`,
    `--encryption-provider-config-automatic-reload=${options.reload ?? false}`,
    ...(options.args ?? []),
  ];
  const launch = (gates = options.featureGates): Promise<RunningProcess> =>
    startServer(
      {
        program: testServers()['kube-apiserver'],
        args: [...args, ...featureGates(gates)],
        logFile: join(dir, 'kube-apiserver.log'),
      },
      START_MS,
      async (signal) =>
        (await request('GET', options.waitFor ?? '/readyz', undefined, signal)).status === 200,
    );
  let running = await launch();
  return {
    address,
    caFile: authority.caFile,
    admin,
    configFile,
    get process() {
      return running;
    },
    request,
    secrets: secrets(request),
    readyz: async () => (await request('GET', '/readyz')).status === 200,
    kmsHealth: (check = 'kms-providers') => request('GET', `/healthz/${check}`),
    stop: () => running.stop(),
    restart: async (providers, gates) => {
      await running.stop();
      if (providers !== undefined) writeEncryptionConfiguration(configFile, providers);
      running = await launch(gates);
    },
    [Symbol.asyncDispose]: () => running.stop(),
  };
}

function featureGates(gates: Readonly<Record<string, boolean>> = {}): readonly string[] {
  const pairs = Object.entries(gates).map(([gate, on]) => `${gate}=${on}`);
  return pairs.length === 0 ? [] : [`--feature-gates=${pairs.join(',')}`];
}

type Secret = { readonly metadata: { readonly name: string }; readonly data?: { value?: string } };

function secrets(request: KubeApiserver['request']): Secrets {
  const path = (namespace: string, name?: string): string =>
    `/api/v1/namespaces/${namespace}/secrets${name === undefined ? '' : `/${name}`}`;
  const must = async (method: string, url: string, body?: unknown): Promise<unknown> => {
    const reply = await request(method, url, body);
    if (reply.status < 300) return reply.body;
    throw new Error(`${method} ${url}: ${reply.status} ${JSON.stringify(reply.body)}`);
  };
  return {
    create: async (name, value, namespace = 'default') => {
      const metadata = { name };
      await must('POST', path(namespace), { metadata, stringData: { value } });
    },
    read: async (name, namespace = 'default') => {
      const reply = await request('GET', path(namespace, name));
      return reply.status === 200 ? entryOf(reply.body as Secret) : reply;
    },
    list: async (namespace = 'default') => {
      const { items } = (await must('GET', path(namespace))) as { items: readonly Secret[] };
      return items.map((secret) => ({ name: secret.metadata.name, value: entryOf(secret) }));
    },
    rewrite: async (name, namespace = 'default') => {
      await must('PUT', path(namespace, name), await must('GET', path(namespace, name)));
    },
    delete: async (name, namespace = 'default') => {
      await must('DELETE', path(namespace, name));
    },
  };
}

function entryOf({ data }: Secret): string {
  return Buffer.from(data?.value ?? '', 'base64').toString();
}
