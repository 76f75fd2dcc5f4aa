/**
 * A stand-in for Vault where a test needs one that waits, or that tells what it was asked. It copies
 * of Vault's HTTP API: GET auth/token/lookup-self, GET transit/keys/NAME, and POST
 * transit/{encrypt,decrypt}/NAME with `batch_input` and `batch_results` in the order of the items.
 * Its 'encryption' is base64: whatever real Vault does is tested in test/vault.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

export type AskedOfVault = {
  readonly path: string;
  readonly token: string | undefined;
  readonly namespace: string | undefined;
};

export type FakeVault = AsyncDisposable & {
  readonly address: string;
  readonly port: number;
  readonly asked: readonly AskedOfVault[];
  /** From now on encrypt and decrypt wait, or decrypt alone; resolves when the first one does. */
  hold(only?: 'decrypt'): Promise<void>;
  /** Answers what waits, and does not wait any more. */
  release(): void;
};

export type FakeVaultOptions = {
  readonly port?: number;
  /** In PEM; https where given. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** What a server replies that is no Vault, or one in another state; undefined where it is as ever. */
  readonly replyTo?: (
    path: string,
    body: unknown,
    token: string | undefined,
  ) => Promise<FakeReply | undefined>;
};

export type FakeReply = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
};

type Item = { readonly plaintext?: string; readonly ciphertext?: string };

const HEAD = 'vault:v1:';
const NONCE = Buffer.alloc(12);
const TAG = Buffer.alloc(16);

/** Listens on a port of 127.0.0.1 until it is disposed of. */
export async function startFakeVault({
  port = 0,
  tls,
  replyTo,
}: FakeVaultOptions = {}): Promise<FakeVault> {
  const asked: AskedOfVault[] = [];
  let gate = Promise.resolve();
  let gated = /^\/v1\/transit\/(encrypt|decrypt)\//;
  let open = (): void => undefined;
  let arrived = (): void => undefined;
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url ?? '';
    const { 'x-vault-token': token, 'x-vault-namespace': namespace } = request.headers;
    asked.push({ path, token: token?.toString(), namespace: namespace?.toString() });
    const sent = await text(request);
    const body: unknown = sent === '' ? {} : JSON.parse(sent);
    if (gated.test(path)) {
      arrived();
      await gate;
    }
    const other = await replyTo?.(path.replace('/v1/', ''), body, token?.toString());
    if (other !== undefined) {
      response.writeHead(other.status, { 'content-type': 'application/json', ...other.headers });
      response.end(other.body === undefined ? '' : JSON.stringify(other.body));
      return;
    }
    const data = dataOf(path, body);
    response.writeHead(data === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(data === undefined ? { errors: [] } : { data }));
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    answer(request, response).catch(() => response.destroy());
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const bound = (server.address() as AddressInfo).port;
  return {
    address: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${bound}`,
    port: bound,
    asked,
    hold(only) {
      gated = only === undefined ? gated : /^\/v1\/transit\/decrypt\//;
      const held = Promise.withResolvers<void>();
      [gate, open] = [held.promise, held.resolve];
      return new Promise((resolve) => {
        arrived = resolve;
      });
    },
    release: () => open(),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        open();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function dataOf(path: string, body: unknown): object | undefined {
  const { batch_input: items = [] } = body as { batch_input?: readonly Item[] };
  switch (path.replace('/v1/', '')) {
    case 'auth/token/lookup-self':
      return { ttl: 0, renewable: false, num_uses: 0 };
    case 'transit/keys/kubernetes':
      return {
        type: 'aes256-gcm96',
        keys: { '1': 1_767_225_600 },
        latest_version: 1,
        min_decryption_version: 1,
      };
    case 'transit/encrypt/kubernetes':
      return {
        batch_results: items.map(({ plaintext = '' }) => ({ ciphertext: sealed(plaintext) })),
      };
    case 'transit/decrypt/kubernetes':
      return {
        batch_results: items.map(({ ciphertext = '' }) => ({ plaintext: opened(ciphertext) })),
      };
    default:
      return undefined;
  }
}

function sealed(plaintext: string): string {
  return `${HEAD}${Buffer.concat([NONCE, Buffer.from(plaintext, 'base64'), TAG]).toString('base64')}`;
}

function opened(ciphertext: string): string {
  const bytes = Buffer.from(ciphertext.slice(HEAD.length), 'base64');
  return bytes.subarray(NONCE.length, -TAG.length).toString('base64');
}
