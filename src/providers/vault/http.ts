/** One request to one Vault server, and its whole answer within a time limit. */
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { VaultConfig } from '../../config/schema.ts';
import { sleep } from '../../system/clock.ts';
import { proxyFor, shownProxy } from '../../system/proxy.ts';
import type { Result } from '../errors.ts';
import type { DispatcherOptions } from './dispatcher.ts';
import { codeOf, connectionErrorOf } from './errors.ts';
import { type Response, readReply, type VaultReply, type VaultRequest } from './reply.ts';
import { nameOf } from './server.ts';

export type VaultConnection = {
  /**
   * What Vault replied, or why no reply of Vault came.
   *
   * @param limitMs how long it may take in all, in milliseconds
   */
  request(request: VaultRequest, limitMs: number, signal: AbortSignal): Promise<Result<VaultReply>>;
  close(): Promise<void>;
};

export type ConnectionOptions = DispatcherOptions & {
  readonly config: Pick<VaultConfig, 'namespace' | 'tls' | 'proxy' | 'requestTimeout'>;
  /** Whether one more request is all right now; see retry-budget.ts. */
  readonly mayRetry: () => boolean;
  /** Makes what sends requests. */
  readonly open: (options: DispatcherOptions) => Dispatcher;
};

/** A caller who leaves says nothing about the server, unless it was silent for so long. */
export const SILENCE_MS = 2_000;

export const MAX_REPLY_BYTES = 8 << 20;
/** How often a request is sent again because its keep-alive connection had just been closed. */
const STALE_RETRIES = 2;
const CLOSE_LIMIT_MS = 1_000;
const LATE = 'TimeoutError';

/** Connections to one server; nothing is opened before the first request. */
export function createVaultConnection(options: ConnectionOptions): VaultConnection {
  const { target, config, clock, mayRetry } = options;
  let dispatcher = options.open(options);
  const replaced = new Set<Dispatcher>();
  let closed = false;
  const { origin, pathname } = new URL(target.url);
  const prefix = `${pathname.replace(/\/+$/, '')}/v1/`;
  const { namespace } = config;
  const proxy = proxyFor(target.url, config.proxy, options.env);
  const name =
    nameOf(target) + (proxy === undefined ? '' : ` through the proxy ${shownProxy(proxy)}`);

  const optionsOf = (request: VaultRequest): Dispatcher.DispatchOptions => {
    const { body, token } = request;
    const headers: Record<string, string> = { 'x-vault-request': 'true' };
    if (namespace !== undefined && request.root !== true) headers['x-vault-namespace'] = namespace;
    if (token !== undefined) headers['x-vault-token'] = token;
    if (body !== undefined) headers['content-type'] = 'application/json';
    // Their cache knows a request by all of its headers and its body.
    if (request.uncached === true) headers['x-request-id'] = randomUUID();
    const json = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    return {
      origin,
      method: request.method,
      path: prefix + request.path,
      headers,
      body: json ?? null,
    };
  };

  /**
   * Where one connection is silent all others may be dead too: a firewall that is started again
   * forgets all of them at once, and tells nobody. What is tried next goes on a new one.
   */
  const replace = (silent: Dispatcher): void => {
    if (closed || silent !== dispatcher) return;
    dispatcher = options.open(options);
    replaced.add(silent);
    void silent.close().finally(() => replaced.delete(silent));
  };

  /** Rejects with the error of Node or undici where no whole answer comes. */
  const exchange = async (request: VaultRequest, limit: Limit): Promise<Result<VaultReply>> => {
    const used = dispatcher;
    const response = await dispatch(used, optionsOf(request), limit).catch((error: unknown) => {
      if (limit.expired?.name === LATE) replace(used);
      throw error;
    });
    return readReply(request, name, response, clock.now());
  };

  return {
    async request(request, limitMs, signal) {
      const limit: Limit = { expired: undefined, onExpire: undefined };
      const expire = (name: string): void => {
        limit.expired ??= named(name);
        limit.onExpire?.(limit.expired);
      };
      const late = (): void => expire(LATE);
      const began = clock.now();
      const aborted = (): void => expire(clock.now() - began < SILENCE_MS ? 'AbortError' : LATE);
      const timer = clock.setTimer(limitMs, late);
      signal.addEventListener('abort', aborted);
      if (signal.aborted) aborted();
      try {
        for (let retries = isRepeatable(request) ? STALE_RETRIES : 0; ; retries -= 1) {
          try {
            return await exchange(request, limit);
          } catch (error) {
            // A server that closed an idle connection is no outage: what is sent here again can be.
            const again = retries > 0 && limit.expired === undefined && isClosedConnection(error);
            if (!again || !mayRetry()) return connectionErrorOf(request.what, name, error);
          }
        }
      } finally {
        timer.cancel();
        signal.removeEventListener('abort', aborted);
      }
    },
    async close() {
      closed = true;
      const all = [dispatcher, ...replaced];
      const closing = new AbortController();
      const timedOut = sleep(clock, CLOSE_LIMIT_MS, closing.signal).then(async (late) => {
        if (late) await Promise.all(all.map((each) => each.destroy()));
      });
      await Promise.race([Promise.all(all.map((each) => each.close())), timedOut]);
      closing.abort();
    },
  };
}

/** What ends a request from outside: its time limit, or its caller who leaves. */
type Limit = { expired: Error | undefined; onExpire: ((error: Error) => void) | undefined };

/** undici's own callbacks: its promises cost a stream and an AbortSignal for each request. */
function dispatch(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  limit: Limit,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | undefined;
    let status = 0;
    let headers: IncomingHttpHeaders = {};
    let size = 0;
    const chunks: Buffer[] = [];
    const stop = (error: Error): void => {
      controller?.abort(error);
      reject(error);
    };
    if (limit.expired !== undefined) return reject(limit.expired);
    limit.onExpire = stop;
    dispatcher.dispatch(options, {
      onRequestStart(started) {
        controller = started;
        if (limit.expired !== undefined) started.abort(limit.expired);
      },
      onResponseStart(_controller, statusCode, answered) {
        status = statusCode;
        headers = answered;
      },
      onResponseData(_controller, chunk) {
        size += chunk.length;
        if (size > MAX_REPLY_BYTES) stop(named('UND_ERR_RES_EXCEEDED_MAX_SIZE'));
        else chunks.push(chunk);
      },
      onResponseEnd() {
        const { location } = headers;
        resolve({
          status,
          text: textOf(chunks),
          contentType: String(headers['content-type'] ?? ''),
          retryAfter: headers['retry-after'],
          location,
        });
      },
      onResponseError(_controller, error) {
        reject(error);
      },
    });
  });
}

/** The whole text; the bytes may have held plaintexts, and are overwritten. */
function textOf(chunks: readonly Buffer[]): string {
  const [first] = chunks;
  const whole = chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
  const text = whole.toString('utf8');
  whole.fill(0);
  if (chunks.length > 1) for (const chunk of chunks) chunk.fill(0);
  return text;
}

function named(name: string): Error {
  const error = new Error(name);
  error.name = name;
  return error;
}

/** Whether it may have been done already, and be done again: each login that Vault does leaves a token. */
function isRepeatable({ once, leaves }: VaultRequest): boolean {
  return once !== true && leaves === undefined;
}

function isClosedConnection(error: unknown): boolean {
  return ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(codeOf(error));
}
