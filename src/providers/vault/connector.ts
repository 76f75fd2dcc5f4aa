/** One connection to a server: direct or through a proxy, by TLS or not, and within a time limit. */
import { isIP, type LookupFunction, connect as netConnect, type Socket } from 'node:net';
import {
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
  connect as tlsConnect,
} from 'node:tls';
import type { buildConnector } from 'undici';
import type { Clock } from '../../system/clock.ts';
import { shownProxy } from '../../system/proxy.ts';
import { certificateFault } from './certificate.ts';
import { explained, refusesCertificate, unsent } from './errors.ts';
import { isPublic } from './private-address.ts';
import { openTunnel } from './tunnel.ts';

export type ConnectorOptions = {
  readonly tls: {
    readonly ca: readonly string[];
    readonly cert?: string;
    readonly key?: string;
    readonly servername?: string;
  };
  /** The URL of the proxy that leads there; undefined for the direct way. */
  readonly proxy: { readonly url: string; readonly ca: readonly string[] } | undefined;
  readonly lookup: LookupFunction;
  /** The longest that all of it may take, in milliseconds. */
  readonly limitMs: number;
  readonly clock: Clock;
};

/** As undici has it, and Vault's own client. */
const KEEP_ALIVE_PROBE_MS = 60_000;

/** For undici, which asks for each connection by it. */
export function createConnector(options: ConnectorOptions): buildConnector.connector {
  const { tls, proxy, lookup, limitMs, clock } = options;
  /** Of the last handshake, so that the next one costs less. */
  let session: Buffer | undefined;
  /** One for all connections: the authorities of the system take megabytes and milliseconds each time. */
  let context: SecureContext | undefined;

  const open = async (to: buildConnector.Options, limit: Limit): Promise<Socket> => {
    const secure = to.protocol === 'https:';
    const { hostname } = to;
    const port = Number(to.port || (secure ? 443 : 80));
    if (proxy === undefined && !secure)
      return await connected(netConnect({ host: hostname, port, lookup }), 'connect', limit);
    const socket = proxy && (await tunnelTo(`${bracketed(hostname)}:${port}`, proxy, limit));
    if (socket !== undefined && !secure) return socket;
    const servername = tls.servername ?? (isIP(hostname) === 0 ? hostname : undefined);
    const { ca, cert, key } = tls;
    context ??= createSecureContext({
      ca: [...ca],
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      minVersion: 'TLSv1.2',
      // An authority that an administrator lists is trusted as it is, not only a root.
      allowPartialTrustChain: true,
    });
    const connection = tlsConnect({
      secureContext: context,
      host: hostname,
      port,
      lookup,
      ...(servername === undefined ? {} : { servername }),
      ...(socket === undefined ? {} : { socket }),
      ...(session === undefined ? {} : { session }),
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
    });
    connection.on('session', (fresh) => {
      session = fresh;
    });
    let peer: PeerCertificate | undefined;
    // Before Node's own listener, which destroys what it cannot verify.
    connection.prependOnceListener('secure', () => {
      peer = connection.getPeerCertificate();
    });
    // Node only emits an alert that comes once the connection is open: undici would see the end alone.
    connection.on('error', (error) => {
      connection.destroy(refusesCertificate(error) ? unsent(error) : error);
    });
    try {
      return await connected(connection, 'secureConnect', limit);
    } catch (error) {
      throw certificateFault(error, peer, servername ?? hostname, Date.now()) ?? error;
    }
  };

  const tunnelTo = async (
    authority: string,
    { url, ca }: { readonly url: string; readonly ca: readonly string[] },
    limit: Limit,
  ): Promise<Socket> => {
    limit.step = `the proxy ${shownProxy(url)} does not answer in time`;
    const socket = await openTunnel(authority, { proxy: url, ca, lookup }, limit.signal);
    limit.step = `the proxy ${shownProxy(url)} has opened the way, but nobody answers behind it`;
    return socket;
  };

  return (to, callback) => {
    const abort = new AbortController();
    const limit: Limit = { signal: abort.signal, step: 'no connection in time', tried: undefined };
    const timer = clock.setTimer(limitMs, () => abort.abort(explained(lateness(limit))));
    open(to, limit)
      .finally(() => timer.cancel())
      .then(
        (socket) => {
          socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_PROBE_MS);
          callback(null, socket);
        },
        (error: Error) =>
          callback(unsent(abort.signal.aborted ? abort.signal.reason : error), null),
      );
  };
}

type Limit = {
  readonly signal: AbortSignal;
  /** What takes too long now, in words. */
  step: string;
  /** The IP address that has not answered yet. */
  tried: string | undefined;
};

/** What took too long. The sandbox of the unit drops what is sent to public addresses, without an error. */
function lateness({ step, tried }: Limit): string {
  return tried === undefined || !isPublic(tried)
    ? step
    : `${step}: ${tried} is a public address, which a firewall may not let through, nor trousseau.service without a drop-in with IPAddressAllow= and a restart`;
}

function connected<S extends Socket | TLSSocket>(
  socket: S,
  event: 'connect' | 'secureConnect',
  limit: Limit,
): Promise<S> {
  const { signal } = limit;
  socket.on('connectionAttempt', (ip: string) => {
    limit.tried = ip;
  });
  socket.once('connect', () => {
    limit.tried = undefined;
  });
  return new Promise((resolve, reject) => {
    const abort = (): void => void socket.destroy(signal.reason);
    const settle = (): void => {
      signal.removeEventListener('abort', abort);
      socket.off('close', closed).off('error', failed);
    };
    const failed = (error: Error): void => {
      settle();
      reject(error);
    };
    const closed = (): void =>
      failed(explained('the connection was closed as soon as it was open'));
    socket.once('error', failed).once('close', closed);
    socket.once(event, () => {
      settle();
      resolve(socket);
    });
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
}

function bracketed(hostname: string): string {
  return isIP(hostname) === 6 ? `[${hostname}]` : hostname;
}
