/**
 * A server that answers as Vault does where a real one cannot be made to on demand; all else is
 * tested with real servers (test/vault). What each answer copies:
 *
 * - `json`: any status with Vault's headers and body. Used for 429 with Retry-After (rate limit
 *   quotas), 412 (Enterprise performance standby), 503 (sealed), 500 for a whole batch over one
 *   tampered item (1.9.3), and for answers that Vault never gives.
 * - `close`: Vault's listener closes connections that were idle for five minutes, and all at a
 *   restart, also just when a request is on its way: no answer, the connection is gone.
 * - `cut`: Vault or a load balancer dies while it answers: half of the body, then nothing.
 * - `raw`: what stands before Vault answers in its stead: a page of a proxy, a captive portal.
 * - `hold`: a server that hangs: the request is taken, no answer comes.
 *
 * Left alone, it logs in whoever asks, and its Transit "encrypts" by putting 28 bytes before the
 * plaintext, which is as much as AES-GCM adds; ciphertexts holding `TAMPERED` do not authenticate.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { TestContext } from 'node:test';

export type FakeAnswer =
  | {
      readonly kind: 'json';
      readonly status: number;
      readonly body: object;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'close' }
  | { readonly kind: 'cut' }
  | {
      readonly kind: 'raw';
      readonly status: number;
      readonly type: string;
      readonly text: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: 'hold';
      /** Called when the request is there, with the end of its connection, and to answer it late. */
      readonly held: (gone: Promise<void>, answer: (late: FakeAnswer) => void) => void;
    };

/** A request as it came in. */
export type SeenRequest = {
  readonly method: string;
  /** Without `/v1/`. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readonly<Record<string, unknown>>;
  /** Which connection it came on, counted from 1. */
  readonly connection: number;
};

export type FakeVault = {
  readonly address: string;
  readonly seen: SeenRequest[];
  /** Answers the next requests to a path so, one after the other; then as ever. */
  next(path: string, ...answers: FakeAnswer[]): void;
  /** Answers by this where it does not give undefined. */
  rule: ((request: SeenRequest) => FakeAnswer | undefined) | undefined;
  /** Ends every connection, as a restart of Vault does. */
  cut(): void;
  /** How many requests came to a path. */
  count(path: string): number;
};

export const LOGIN = 'auth/approle/login';
const LOOKUP = 'auth/token/lookup-self';
export const REVOKE = 'auth/token/revoke-self';
export const ENCRYPT = 'transit/encrypt/kubernetes';
export const DECRYPT = 'transit/decrypt/kubernetes';
export const KEY = 'transit/keys/kubernetes';
const TAMPERED = 'TAMPERED';
const OVERHEAD = Buffer.alloc(28, 1);

export const json = (
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): FakeAnswer => ({ kind: 'json', status, body, headers });

/** An answer with these sentences in `errors`. */
export const refusal = (status: number, ...errors: string[]): FakeAnswer =>
  json(status, { errors });

/** What Vault answers to a good login. */
export const granting = (token: string, ttl = 3600): FakeAnswer =>
  json(200, { auth: { client_token: token, lease_duration: ttl, renewable: true } });

export async function startFakeVault(t: TestContext): Promise<FakeVault> {
  const connections = new Map<Socket, number>();
  const queues = new Map<string, FakeAnswer[]>();
  let logins = 0;

  const usual = ({ path, body }: SeenRequest): FakeAnswer => {
    if (path === LOGIN) {
      logins += 1;
      const auth = { client_token: `hvs.fake-token-${logins}`, lease_duration: 3600 };
      return json(200, { auth: { ...auth, renewable: true } });
    }
    if (path === LOOKUP) return json(200, { data: { ttl: 3600, renewable: true, num_uses: 0 } });
    if (path === KEY) return json(200, { data: keyOf() });
    const items = body['batch_input'];
    if (path === ENCRYPT && Array.isArray(items)) return encrypted(items);
    if (path === DECRYPT && Array.isArray(items)) return decrypted(items);
    return { kind: 'raw', status: 204, type: 'application/json', text: '' };
  };

  const vault: FakeVault = {
    address: '',
    seen: [],
    next: (path, ...answers) => void queues.set(path, [...(queues.get(path) ?? []), ...answers]),
    rule: undefined,
    cut: () => server.closeAllConnections(),
    count: (path) => vault.seen.filter((request) => request.path === path).length,
  };
  const server = createServer(async (request, response) => {
    const { socket, method = '', headers } = request;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const seen: SeenRequest = {
      method,
      path: (request.url ?? '').replace(/^\/v1\//, ''),
      headers,
      body: text === '' ? {} : JSON.parse(text),
      connection: connections.get(socket) ?? connections.size + 1,
    };
    connections.set(socket, seen.connection);
    vault.seen.push(seen);
    give(queues.get(seen.path)?.shift() ?? vault.rule?.(seen) ?? usual(seen), response, socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(vault, { address: `http://127.0.0.1:${port}` });
}

function give(answer: FakeAnswer, response: ServerResponse, socket: Socket): void {
  switch (answer.kind) {
    case 'close':
      socket.destroy();
      return;
    case 'cut':
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"data":{"batch_results":[', () => socket.destroy());
      return;
    case 'raw':
      response
        .writeHead(answer.status, { 'content-type': answer.type, ...answer.headers })
        .end(answer.text);
      return;
    case 'hold':
      answer.held(new Promise((resolve) => void socket.once('close', () => resolve())), (late) =>
        give(late, response, socket),
      );
      return;
    case 'json':
      response
        .writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers })
        .end(JSON.stringify(answer.body));
  }
}

function keyOf(): object {
  return {
    type: 'aes256-gcm96',
    keys: { 1: 1_700_000_000 },
    latest_version: 1,
    min_decryption_version: 1,
    min_encryption_version: 0,
    supports_encryption: true,
    supports_decryption: true,
    derived: false,
    deletion_allowed: false,
    exportable: false,
  };
}

type Item = {
  readonly plaintext: string;
  readonly ciphertext: string;
  readonly key_version: number;
};

function encrypted(items: readonly Item[]): FakeAnswer {
  const results = items.map(({ plaintext, key_version }) => ({
    ciphertext: ciphertextOf(Buffer.from(plaintext, 'base64'), key_version),
    key_version,
  }));
  return json(200, { data: { batch_results: results } });
}

/** As 1.9.3: one tampered item fails the whole batch with 500. */
function decrypted(items: readonly Item[]): FakeAnswer {
  const plaintexts = items.map(({ ciphertext }) =>
    Buffer.from(ciphertext.split(':')[2] ?? '', 'base64').subarray(OVERHEAD.length),
  );
  if (plaintexts.some((plaintext) => plaintext.includes(TAMPERED))) {
    return refusal(500, '1 error occurred:\n\t* cipher: message authentication failed\n\n');
  }
  const results = plaintexts.map((plaintext) => ({ plaintext: plaintext.toString('base64') }));
  return json(200, { data: { batch_results: results } });
}

/** What the fake Transit makes of a plaintext. */
export function ciphertextOf(plaintext: Uint8Array | string, version = 1): string {
  const sealed = Buffer.concat([OVERHEAD, Buffer.from(plaintext)]);
  return `vault:v${version}:${sealed.toString('base64')}`;
}

/** A ciphertext that does not authenticate. */
export function tampered(text = ''): string {
  return ciphertextOf(`${TAMPERED}${text}`);
}
