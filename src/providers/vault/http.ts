/**
 * One request to one Vault server: connections, TLS, the CONNECT proxy, time-outs, and what came
 * back as plain data. Decides nothing about what an answer means.
 */
import { getCACertificates } from 'node:tls';
import { type Dispatcher, Pool, ProxyAgent } from 'undici';
import type { VaultConfig } from '../../config/schema.ts';
import { type Clock, sleep } from '../../system/clock.ts';
import { fail, type Result, succeed } from '../errors.ts';
import { codeOf, connectionErrorOf, errorOf } from './errors.ts';
import { proxyFor } from './proxy.ts';

export type VaultRequest = {
  readonly method: 'GET' | 'POST';
  /** Without `/v1/`, e.g. `transit/encrypt/kubernetes`. */
  readonly path: string;
  readonly token?: string;
  readonly body?: object;
  /** The request in a few words, for the sentence of an error, e.g. `encrypting`. */
  readonly what: string;
  /** What must not be sent twice: the unwrapping of a token that works once. */
  readonly once?: boolean;
};

/** A whole answer, whatever its status is. */
export type VaultReply = {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly retryAfter: string | undefined;
};

/** PEM, as read from the files of the configuration. */
export type TlsMaterial = { readonly ca?: string; readonly cert?: string; readonly key?: string };

export type VaultConnection = {
  readonly address: string;
  /** An answer of any status, or why none came. */
  request(request: VaultRequest, signal: AbortSignal): Promise<Result<VaultReply>>;
  close(): Promise<void>;
};

/** Enough for several batches at once; more would only make smaller batches. */
const CONNECTIONS = 8;
const MAX_REPLY_BYTES = 8 << 20;
/** Vault's listener closes idle connections after five minutes. */
const KEEP_ALIVE_MS = 60_000;
/** How often a request is sent again because its keep-alive connection had just been closed. */
const STALE_RETRIES = 2;

export type ConnectionOptions = {
  readonly address: string;
  readonly config: Pick<VaultConfig, 'namespace' | 'tls' | 'proxy' | 'requestTimeout'>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly tls: TlsMaterial;
  readonly clock: Clock;
};

/** Connections to one server; nothing is opened before the first request. */
export function createVaultConnection(options: ConnectionOptions): VaultConnection {
  const { address, config, clock } = options;
  const dispatcher = dispatcherFor(options);
  const base = new URL(address);
  const prefix = `${base.pathname.replace(/\/+$/, '')}/v1/`;
  const headers = {
    'x-vault-request': 'true',
    ...(config.namespace === undefined ? {} : { 'x-vault-namespace': config.namespace }),
  };

  const sendOnce = async (
    request: VaultRequest,
    signal: AbortSignal,
  ): Promise<Result<VaultReply>> => {
    const {
      statusCode,
      headers: answered,
      body,
    } = await dispatcher.request({
      origin: base.origin,
      method: request.method,
      path: prefix + request.path,
      headers: {
        ...headers,
        ...(request.token === undefined ? {} : { 'x-vault-token': request.token }),
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: request.body === undefined ? null : JSON.stringify(request.body),
      signal,
    });
    const parsed = parse(await body.text(), String(answered['content-type'] ?? ''));
    if (typeof parsed === 'string') {
      return fail(
        'unavailable',
        `${request.what}: ${address} answers ${statusCode}, but not as Vault does: ${parsed}`,
      );
    }
    const retryAfter = answered['retry-after']?.toString();
    return succeed({ status: statusCode, body: parsed, retryAfter });
  };

  return {
    address,
    async request(request, signal) {
      const limit = new AbortController();
      const abort = (): void => limit.abort();
      const timer = clock.setTimer(config.requestTimeout, abort);
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
      try {
        for (let retries = request.once ? 0 : STALE_RETRIES; ; retries -= 1) {
          try {
            return await sendOnce(request, limit.signal);
          } catch (error) {
            // A server that closed an idle connection is no outage: what is sent here again can be.
            if (retries > 0 && isClosedConnection(error) && !limit.signal.aborted) continue;
            return connectionErrorOf(request.what, address, error);
          }
        }
      } finally {
        timer.cancel();
        signal.removeEventListener('abort', abort);
      }
    },
    async close() {
      const closing = new AbortController();
      const timedOut = sleep(clock, CLOSE_LIMIT_MS, closing.signal).then(async (late) => {
        if (late) await dispatcher.destroy();
      });
      await Promise.race([dispatcher.close(), timedOut]);
      closing.abort();
    },
  };
}

const CLOSE_LIMIT_MS = 1_000;

/** The failure of an answer of 400 or more, as an error; undefined where it is none. */
export function failureOf(
  request: VaultRequest,
  reply: VaultReply,
  now: number,
): Extract<Result<never>, { ok: false }> | undefined {
  if (reply.status < 300) return undefined;
  const { errors } = reply.body;
  const messages = Array.isArray(errors)
    ? errors.filter((e): e is string => typeof e === 'string')
    : [];
  return errorOf(request.what, reply.status, messages, reply.retryAfter, now);
}

function dispatcherFor({ address, config, env, tls }: ConnectionOptions): Dispatcher {
  const connect = {
    ...tls,
    // A file of one's own does not add to the authorities that the system trusts: it replaces them.
    ca: tls.ca ?? systemAuthorities(),
    ...(config.tls.serverName === undefined ? {} : { servername: config.tls.serverName }),
    minVersion: 'TLSv1.2' as const,
    rejectUnauthorized: true,
    timeout: config.requestTimeout,
  };
  const pool = {
    connections: CONNECTIONS,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxResponseSize: MAX_REPLY_BYTES,
    // The time-out of the whole request is ours, and finer than undici's clock of a second.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  const proxy = proxyFor(address, config.proxy, env);
  if (proxy === undefined) return new Pool(new URL(address).origin, { ...pool, connect });
  return new ProxyAgent({ ...pool, uri: proxy, requestTls: connect, proxyTunnel: true });
}

function systemAuthorities(): string[] {
  return [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
}

function isClosedConnection(error: unknown): boolean {
  return ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(codeOf(error));
}

/** The body as an object, or in words why it is nothing that Vault sends. */
function parse(text: string, contentType: string): VaultReply['body'] | string {
  if (text === '') return {};
  if (!contentType.startsWith('application/json')) {
    return `content type ${contentType.slice(0, 60) || 'missing'}; is there a proxy in between?`;
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return 'what it sent is not JSON';
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    return 'what it sent is no JSON object';
  }
  return parsed as VaultReply['body'];
}
